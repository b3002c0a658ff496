#include "tls/server_context.hpp"

#include "tests/tls/pair.hpp"

#include <gtest/gtest.h>

namespace rooster::tls {
namespace {

using testing::ClientOptions;
using testing::Folder;
using testing::make_pem;
using testing::new_context;
using testing::new_tickets;
using testing::Outcome;
using testing::shake;
using testing::today;

std::shared_ptr<const CertificateStore> store_with(const std::vector<std::string>& names,
                                                   const std::string& domain = "",
                                                   bool rsa = false) {
  const Folder folder;
  std::vector<std::string> files;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto pem = make_pem({names[i]}, rsa);
    files.push_back(std::to_string(i));
    folder.write(files.back() + ".pem", pem.certificate);
    folder.write(files.back() + ".key", pem.key);
  }
  auto inputs = testing::inputs_of(folder, files);
  inputs.domain = domain;
  return CertificateStore::build(inputs, nullptr, today()).store;
}

TEST(ServerContext, SpeaksTls13And12AndNothingOlder) {
  const auto context = new_context(store_with({"*.app.dev"}));
  ClientOptions options{.sni = "hello.app.dev"};
  auto outcome = shake(*context, options);
  ASSERT_TRUE(outcome.server) << outcome.server.error().detail;
  EXPECT_STREQ(outcome.server->version, "TLSv1.3");
  EXPECT_STREQ(outcome.server->cipher, "TLS_AES_128_GCM_SHA256");
  options.version = TLS1_2_VERSION;
  outcome = shake(*context, options);
  ASSERT_TRUE(outcome.server) << outcome.server.error().detail;
  EXPECT_STREQ(outcome.server->version, "TLSv1.2");
  EXPECT_EQ(outcome.client_cipher, "ECDHE-ECDSA-AES128-GCM-SHA256");
  options.version = TLS1_1_VERSION;
  outcome = shake(*context, options);
  ASSERT_FALSE(outcome.server);
  EXPECT_EQ(outcome.server.error().fault, Fault::TlsHandshake);
  EXPECT_TRUE(outcome.server.error().detail.starts_with("PT04 ")) << outcome.server.error().detail;
}

TEST(ServerContext, ServesRsaCertificatesToTls12) {
  const auto context = new_context(store_with({"*.app.dev"}, "", true));
  const auto outcome = shake(*context, {.sni = "hello.app.dev", .version = TLS1_2_VERSION});
  ASSERT_TRUE(outcome.server) << outcome.server.error().detail;
  EXPECT_EQ(outcome.client_cipher, "ECDHE-RSA-AES128-GCM-SHA256");
}

TEST(ServerContext, GivesChaChaToClientsThatPutItFirst) {
  const auto context = new_context(store_with({"*.app.dev"}));
  const auto outcome = shake(
      *context,
      {.sni = "a.app.dev", .suites13 = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"});
  EXPECT_EQ(outcome.client_cipher, "TLS_CHACHA20_POLY1305_SHA256");
}

TEST(ServerContext, RefusesSuitesWithoutForwardSecrecy) {
  const auto context = new_context(store_with({"*.app.dev"}, "", true));
  for (const char* suites : {"AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256"}) {
    EXPECT_FALSE(
        shake(*context, {.sni = "a.app.dev", .version = TLS1_2_VERSION, .suites12 = suites})
            .server);
  }
}

TEST(ServerContext, ChoosesTheCertificateByName) {
  const auto context =
      new_context(store_with({"*.app.dev", "shop.app.dev", "other.net"}, "app.dev"));
  EXPECT_EQ(shake(*context, {.sni = "hello.app.dev"}).served, "*.app.dev");
  EXPECT_EQ(shake(*context, {.sni = "SHOP.app.dev"}).served, "shop.app.dev");
  EXPECT_EQ(shake(*context, {.sni = "other.net", .version = TLS1_2_VERSION}).served, "other.net");
  EXPECT_EQ(shake(*context, {.sni = "unknown.org"}).served, "*.app.dev");
  EXPECT_EQ(shake(*context, {}).served, "*.app.dev");
}

TEST(ServerContext, KnowsWhichHostsAConnectionMayAskFor) {
  const auto context = new_context(store_with({"*.app.dev"}));
  const auto outcome = shake(*context, {.sni = "hello.app.dev"});
  ASSERT_TRUE(outcome.server);
  EXPECT_EQ(outcome.server->sni, "hello.app.dev");
  EXPECT_TRUE(outcome.server->covers("other.app.dev"));
  EXPECT_FALSE(outcome.server->covers("example.com"));
}

TEST(ServerContext, RefusesUnknownNamesWhenStrict) {
  const auto context = new_context(store_with({"*.app.dev"}), {.strict_sni = true});
  const auto named = shake(*context, {.sni = "unknown.org"});
  ASSERT_FALSE(named.server);
  EXPECT_EQ(named.server.error().detail, "PT05 no certificate for this name (sni unknown.org)");
  const auto unnamed = shake(*context, {});
  ASSERT_FALSE(unnamed.server);
  EXPECT_EQ(unnamed.server.error().detail, "PT06 no certificate");
  EXPECT_TRUE(shake(*context, {.sni = "hello.app.dev"}).server);
}

TEST(ServerContext, AgreesOnAProtocol) {
  const auto store = store_with({"*.app.dev"});
  const auto h1 = new_context(store, {.alpn = {"http/1.1"}});
  EXPECT_EQ(shake(*h1, {.sni = "a.app.dev", .alpn = {"h2", "http/1.1"}}).server->alpn, "http/1.1");
  EXPECT_EQ(shake(*h1, {.sni = "a.app.dev"}).server->alpn, "");
  EXPECT_FALSE(shake(*h1, {.sni = "a.app.dev", .alpn = {"h2"}}).server);
  const auto both = new_context(store, {.alpn = {"h2", "http/1.1"}});
  EXPECT_EQ(shake(*both, {.sni = "a.app.dev", .alpn = {"http/1.1", "h2"}}).server->alpn, "h2");
  const auto none = new_context(store, {.alpn = {}});
  EXPECT_EQ(shake(*none, {.sni = "a.app.dev", .alpn = {"h2"}}).server->alpn, "");
}

TEST(ServerContext, AdoptsNewCertificates) {
  const auto context = new_context(store_with({"*.app.dev"}));
  context->adopt(store_with({"hello.app.dev"}));
  EXPECT_EQ(shake(*context, {.sni = "hello.app.dev"}).served, "hello.app.dev");
}

TEST(ServerContext, AppliesTheNamesOwnProfile) {
  const auto only13 = std::make_shared<const TlsProfile>(TlsProfile{.tls12 = false});
  auto context = *ServerContext::create(
      {}, store_with({"*.app.dev"}), new_tickets(),
      [&](std::string_view sni) { return sni == "new.app.dev" ? only13 : nullptr; });
  EXPECT_FALSE(shake(*context, {.sni = "new.app.dev", .version = TLS1_2_VERSION}).server);
  EXPECT_TRUE(shake(*context, {.sni = "new.app.dev"}).server);
  EXPECT_TRUE(shake(*context, {.sni = "old.app.dev", .version = TLS1_2_VERSION}).server);
}

TEST(ServerContext, KeepsToItsOwnProfilesVersions) {
  const auto context = new_context(store_with({"*.app.dev"}), {.tls13 = false});
  const auto outcome = shake(*context, {.sni = "a.app.dev"});
  ASSERT_TRUE(outcome.server) << outcome.server.error().detail;
  EXPECT_STREQ(outcome.server->version, "TLSv1.2");
}

TEST(TlsProfile, FollowsFlysOptions) {
  const TlsProfile defaults{.alpn = {"http/1.1"}};
  config::TlsOptions options;
  options.versions = {"TLSv1.3"};
  options.alpn = {"h2", "http/1.1"};
  const auto profile = TlsProfile::from(options, defaults);
  EXPECT_FALSE(profile.tls12);
  EXPECT_TRUE(profile.tls13);
  EXPECT_EQ(profile.alpn, std::vector<std::string>{"http/1.1"});
  EXPECT_EQ(TlsProfile::from({}, defaults), defaults);
}

}  // namespace
}  // namespace rooster::tls
