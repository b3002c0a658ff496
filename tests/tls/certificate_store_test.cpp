#include "tls/certificate_store.hpp"

#include "tests/tls/pair.hpp"

#include <gtest/gtest.h>

#include <thread>

#include <sys/stat.h>

namespace rooster::tls {
namespace {

using namespace std::chrono_literals;
using testing::Folder;
using testing::inputs_of;
using testing::make_pem;
using testing::today;

void put(const Folder& folder, const std::string& file, const std::vector<std::string>& names,
         bool rsa = false, int days = 90) {
  const auto pem = make_pem(names, rsa, days);
  folder.write(file + ".pem", pem.certificate);
  folder.write(file + ".key", pem.key);
}

TEST(CertificateStore, PrefersTheExactNameToTheWildcard) {
  const Folder folder;
  put(folder, "wild", {"*.example.com"});
  put(folder, "exact", {"shop.example.com"});
  const auto built =
      CertificateStore::build(inputs_of(folder, {"wild", "exact"}), nullptr, today());
  ASSERT_TRUE(built.errors.empty()) << built.errors.front();
  EXPECT_EQ(built.store->find("shop.example.com")->names().front(), "shop.example.com");
  EXPECT_EQ(built.store->find("blog.example.com")->names().front(), "*.example.com");
}

TEST(CertificateStore, AWildcardStandsForOneLabelOnly) {
  const Folder folder;
  put(folder, "wild", {"*.example.com"});
  const auto store = CertificateStore::build(inputs_of(folder, {"wild"}), nullptr, today()).store;
  EXPECT_EQ(store->find("example.com"), nullptr);
  EXPECT_EQ(store->find("a.b.example.com"), nullptr);
  EXPECT_EQ(store->find(".example.com"), nullptr);
  EXPECT_TRUE(store->all().front()->covers("a.example.com"));
  EXPECT_FALSE(store->all().front()->covers("a.b.example.com"));
}

TEST(CertificateStore, ServesTheDomainsWildcardByDefault) {
  const Folder folder;
  put(folder, "other", {"other.net"});
  put(folder, "wild", {"*.app.dev"});
  auto inputs = inputs_of(folder, {"other", "wild"});
  inputs.domain = "app.dev";
  const auto store = CertificateStore::build(inputs, nullptr, today()).store;
  EXPECT_EQ(store->default_certificate()->names().front(), "*.app.dev");
}

TEST(CertificateStore, ParsesOnFirstUseOnly) {
  const Folder folder;
  put(folder, "a", {"a.example.com"});
  put(folder, "b", {"b.example.com"});
  const auto store = CertificateStore::build(inputs_of(folder, {"a", "b"}), nullptr, today()).store;
  EXPECT_EQ(store->parsed_count(), 0u);
  const auto first = store->parsed(store->find("a.example.com"));
  EXPECT_EQ(store->parsed_count(), 1u);
  EXPECT_EQ(store->parsed(store->find("a.example.com")), first);
}

TEST(ParsedCertificates, ForgetsTheOneUsedLongestAgo) {
  ParsedCertificates parsed(2);
  std::vector<std::shared_ptr<const Certificate>> made;
  for (const char* name : {"a.test", "b.test", "c.test"}) {
    const auto pem = make_pem({name});
    made.push_back(*Certificate::from_pem(pem.certificate, pem.key, name));
  }
  const auto a = parsed.get(made[0]);
  const auto b = parsed.get(made[1]);
  EXPECT_EQ(parsed.get(made[0]), a);
  parsed.get(made[2]);
  EXPECT_EQ(parsed.size(), 2u);
  EXPECT_EQ(parsed.get(made[0]), a);
  EXPECT_NE(parsed.get(made[1]), b);
}

TEST(ParsedCertificates, IsSharedByThreads) {
  ParsedCertificates parsed(2);
  std::vector<std::shared_ptr<const Certificate>> made;
  for (const char* name : {"a.test", "b.test", "c.test"}) {
    const auto pem = make_pem({name});
    made.push_back(*Certificate::from_pem(pem.certificate, pem.key, name));
  }
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < 100; ++i) EXPECT_NE(parsed.get(made[i % 3]), nullptr);
    });
  }
  threads.clear();
  EXPECT_EQ(parsed.size(), 2u);
}

TEST(CertificateStore, RereadsOnlyTheFilesThatChanged) {
  const Folder folder;
  put(folder, "a", {"a.example.com"});
  put(folder, "b", {"b.example.com"});
  const auto inputs = inputs_of(folder, {"a", "b"});
  const auto first = CertificateStore::build(inputs, nullptr, today()).store;
  put(folder, "b", {"b.example.com", "c.example.com"});
  const auto second = CertificateStore::build(inputs, first.get(), today()).store;
  EXPECT_EQ(second->find("a.example.com"), first->find("a.example.com"));
  EXPECT_NE(second->find("b.example.com"), first->find("b.example.com"));
  EXPECT_NE(second->find("c.example.com"), nullptr);
}

TEST(CertificateStore, ReadsBothFilesWhenOneWasReplaced) {
  const Folder folder;
  put(folder, "a", {"a.example.com"});
  const auto inputs = inputs_of(folder, {"a"});
  const auto first = CertificateStore::build(inputs, nullptr, today()).store;
  const auto fresh = make_pem({"a.example.com"});
  folder.write("a.pem", fresh.certificate);
  // Between an operator's two copies: the old pair stays, and the error says why.
  const auto between = CertificateStore::build(inputs, first.get(), today());
  ASSERT_EQ(between.errors.size(), 1u);
  EXPECT_NE(between.errors[0].find("the key does not belong"), std::string::npos);
  EXPECT_EQ(between.store->find("a.example.com"), first->find("a.example.com"));
  folder.write("a.key", fresh.key);
  const auto after = CertificateStore::build(inputs, between.store.get(), today());
  EXPECT_TRUE(after.errors.empty());
  EXPECT_NE(after.store->find("a.example.com"), first->find("a.example.com"));
}

TEST(CertificateStore, NamesTheFileAndTheMend) {
  const Folder folder;
  put(folder, "a", {"a.example.com"});
  folder.write("junk.pem", "not a certificate");
  folder.write("junk.key", "");
  const auto other = make_pem({"x.example.com"});
  folder.write("mixed.pem", make_pem({"y.example.com"}).certificate);
  folder.write("mixed.key", other.key);
  const auto built = CertificateStore::build(inputs_of(folder, {"a", "junk", "mixed", "absent"}),
                                             nullptr, today());
  ASSERT_EQ(built.errors.size(), 4u);  // absent: both of its files
  EXPECT_NE(built.errors[0].find("junk.pem: no PEM certificate"), std::string::npos);
  EXPECT_NE(built.errors[1].find("mixed.pem: the key does not belong"), std::string::npos);
  EXPECT_NE(built.errors[2].find("absent.pem: No such file"), std::string::npos);
  EXPECT_NE(built.errors[2].find("check the path"), std::string::npos);
  EXPECT_NE(built.store->find("a.example.com"), nullptr);
}

TEST(CertificateStore, WarnsOfExpiry) {
  const Folder folder;
  put(folder, "old", {"old.example.com"}, false, -3);
  put(folder, "soon", {"soon.example.com"}, false, 5);
  const auto built = CertificateStore::build(inputs_of(folder, {"old", "soon"}), nullptr, today());
  ASSERT_EQ(built.warnings.size(), 2u);
  EXPECT_NE(built.warnings[0].find("old.pem: expired on"), std::string::npos);
  EXPECT_NE(built.warnings[1].find("soon.pem: expires on"), std::string::npos);
}

TEST(CertificateStore, SignsWhatNoFileCovers) {
  const Folder folder;
  put(folder, "shop", {"shop.example.com"});
  const auto authority = LocalAuthority::open_or_create(folder.path("tls"), today());
  ASSERT_TRUE(authority) << authority.error().detail;
  auto inputs = inputs_of(folder, {"shop"});
  inputs.domain = "app.dev";
  inputs.hostnames = {"shop.example.com", "blog.example.com", "*.wild.example.com"};
  inputs.authority = &*authority;
  const auto built = CertificateStore::build(inputs, nullptr, today());
  ASSERT_TRUE(built.errors.empty()) << built.errors.front();
  EXPECT_EQ(built.store->all().size(), 4u);
  EXPECT_EQ(built.store->find("shop.example.com")->origin(), folder.path("shop.pem"));
  EXPECT_EQ(built.store->find("blog.example.com")->origin(), "local CA");
  EXPECT_EQ(built.store->find("hello.app.dev"), built.store->find("app.dev"));
  EXPECT_NE(built.store->find("x.wild.example.com"), nullptr);
}

TEST(CertificateStore, KeepsLocalCertificatesUntilTheyAreDue) {
  const Folder folder;
  const auto authority = LocalAuthority::open_or_create(folder.path("tls"), today());
  ASSERT_TRUE(authority) << authority.error().detail;
  CertificateInputs inputs;
  inputs.domain = "app.dev";
  inputs.authority = &*authority;
  const auto first = CertificateStore::build(inputs, nullptr, today()).store;
  EXPECT_GT(first->renew_at(), today() + 59 * 24h);
  EXPECT_LT(first->renew_at(), today() + 61 * 24h);
  const auto second = CertificateStore::build(inputs, first.get(), today() + 1h).store;
  EXPECT_EQ(second->find("app.dev"), first->find("app.dev"));
  const auto third = CertificateStore::build(inputs, second.get(), first->renew_at()).store;
  EXPECT_NE(third->find("app.dev"), first->find("app.dev"));
}

TEST(NormalHost, RefusesWhatIsNotAName) {
  EXPECT_EQ(normal_host("Hello.APP.dev."), "hello.app.dev");
  EXPECT_EQ(normal_host("a_b-c.app.dev"), "a_b-c.app.dev");
  EXPECT_EQ(normal_host("a..b"), "");
  EXPECT_EQ(normal_host("."), "");
  EXPECT_EQ(normal_host("a b"), "");
  EXPECT_EQ(normal_host("a\nb"), "");
  EXPECT_EQ(normal_host("caf\xc3\xa9.dev"), "");
  EXPECT_EQ(normal_host(std::string(254, 'a')), "");
}

}  // namespace
}  // namespace rooster::tls
