#include "tls/local_authority.hpp"

#include "tests/tls/pair.hpp"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include <fstream>
#include <sstream>

#include <sys/stat.h>

namespace rooster::tls {
namespace {

using testing::Folder;
using testing::today;

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string pem_of(const Certificate& certificate) {
  const auto parsed = certificate.parse();
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), parsed->leaf.get());
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

mode_t mode_of(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

TEST(LocalAuthority, KeepsItsKeyToItself) {
  const Folder folder;
  const mode_t before = ::umask(0);
  ASSERT_TRUE(LocalAuthority::open_or_create(folder.path("tls"), today()));
  ::umask(before);
  EXPECT_EQ(mode_of(folder.path("tls/local-ca.key")), 0600u);
  EXPECT_EQ(mode_of(folder.path("tls/local-ca.pem")), 0644u);
  EXPECT_FALSE(std::filesystem::exists(folder.path("tls/local-ca.key.new")));
}

TEST(LocalAuthority, ClosesAKeyThatWasOpened) {
  const Folder folder;
  ASSERT_TRUE(LocalAuthority::open_or_create(folder.path("tls"), today()));
  ::chmod(folder.path("tls/local-ca.key").c_str(), 0644);
  ASSERT_TRUE(LocalAuthority::open_or_create(folder.path("tls"), today()));
  EXPECT_EQ(mode_of(folder.path("tls/local-ca.key")), 0600u);
}

TEST(LocalAuthority, IsTheSameNextTime) {
  const Folder folder;
  const auto first = LocalAuthority::open_or_create(folder.path("data/tls"), today());
  ASSERT_TRUE(first) << first.error().detail;
  const std::string text = text_of(first->certificate_file());
  const auto second = LocalAuthority::open_or_create(folder.path("data/tls"), today());
  ASSERT_TRUE(second) << second.error().detail;
  EXPECT_EQ(first->id(), second->id());
  EXPECT_EQ(text_of(second->certificate_file()), text);
}

TEST(LocalAuthority, SignsWhatOpensslVerifies) {
  const Folder folder;
  const auto authority = LocalAuthority::open_or_create(folder.path("tls"), today());
  ASSERT_TRUE(authority);
  const std::string long_name = std::string(60, 'a') + "." + std::string(60, 'b') + ".example.com";
  for (const auto& names :
       {std::vector<std::string>{"*.app.dev", "app.dev"}, std::vector<std::string>{long_name}}) {
    const auto leaf = authority->issue(names, today());
    ASSERT_TRUE(leaf) << leaf.error().detail;
    EXPECT_EQ((*leaf)->names(), names);
    folder.write("leaf.pem", pem_of(**leaf));
    const std::string host = names.front().starts_with("*") ? "hello.app.dev" : names.front();
    const std::string command = "openssl verify -x509_strict -purpose sslserver -verify_hostname " +
                                host + " -CAfile " + authority->certificate_file() + " " +
                                folder.path("leaf.pem") + " > " + folder.path("said") + " 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << text_of(folder.path("said"));
  }
}

TEST(LocalAuthority, GivesItsOwnCertificateWithTheLeaf) {
  const Folder folder;
  const auto authority = LocalAuthority::open_or_create(folder.path("tls"), today());
  ASSERT_TRUE(authority);
  const auto leaf = authority->issue({"*.app.dev"}, today());
  ASSERT_TRUE(leaf);
  EXPECT_EQ(sk_X509_num((*leaf)->parse()->chain.get()), 1);
}

TEST(LocalAuthority, SignsOnlyForHostNames) {
  const Folder folder;
  const auto authority = LocalAuthority::open_or_create(folder.path("tls"), today());
  ASSERT_TRUE(authority);
  EXPECT_FALSE(authority->issue({"a.dev,DNS:bank.example"}, today()));
  EXPECT_FALSE(authority->issue({"*.*.dev"}, today()));
  EXPECT_FALSE(authority->issue({}, today()));
}

TEST(LocalAuthority, SaysHowToMendWhatIsDamaged) {
  const Folder folder;
  ASSERT_TRUE(LocalAuthority::open_or_create(folder.path("tls"), today()));
  folder.write("tls/local-ca.key", "damaged");
  const auto broken = LocalAuthority::open_or_create(folder.path("tls"), today());
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().detail.find("remove " + folder.path("tls/local-ca.pem")),
            std::string::npos);
}

TEST(LocalAuthority, StartsAgainAfterACrashBetweenItsFiles) {
  const Folder folder;
  ASSERT_TRUE(LocalAuthority::open_or_create(folder.path("tls"), today()));
  std::filesystem::remove(folder.path("tls/local-ca.pem"));
  EXPECT_TRUE(LocalAuthority::open_or_create(folder.path("tls"), today()));
}

}  // namespace
}  // namespace rooster::tls
