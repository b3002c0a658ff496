// The small parts: archive's ledger, failure limit, names and rights, the node's key.
#include "cluster/archive.hpp"
#include "cluster/failure_limit.hpp"
#include "cluster/node_key.hpp"
#include "core/base64.hpp"
#include "tests/cluster/fixture.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include <sys/stat.h>

namespace rooster::cluster {
namespace {

using namespace std::chrono_literals;

AuditEntry entry_of(std::uint64_t id, const std::string& app) {
  return {.id = id,
          .token = "t",
          .peer = "laptop",
          .app = app,
          .machine = "m",
          .argv = {"sh", "-c", "echo 'a:b'", ""},
          .start = kStart + std::chrono::seconds(id)};
}

TEST(Archive, TheLedgerTellsHowAnExecutionEnded) {
  const Folder folder;
  auto archive = Archive::open(folder.file("state.db"));
  ASSERT_TRUE(archive);
  ASSERT_TRUE(archive->write({entry_of(1, "web"), entry_of(2, "db")}));
  AuditEntry ended = entry_of(1, "web");
  ended.end = kStart + 5s;
  ended.exit_status = 130;
  ended.bytes_in = 10;
  ended.bytes_out = std::uint64_t{1} << 40U;
  ASSERT_TRUE(archive->write({ended}));
  EXPECT_EQ(*archive->audits("", 10), (std::vector{entry_of(2, "db"), ended}));
  EXPECT_EQ(*archive->audits("web", 10), std::vector{ended});
  EXPECT_EQ(archive->audits("", 1)->size(), 1U);
}

TEST(Archive, ABatchIsWrittenWholeOrNotAtAll) {
  const Folder folder;
  auto archive = Archive::open(folder.file("state.db"));
  const NetworkRow one{.network = {NetworkId{1}, "one"}};
  const NetworkRow same_name{.network = {NetworkId{2}, "ONE"}};
  EXPECT_FALSE(archive->write({one, same_name}));
  EXPECT_TRUE(archive->load()->empty());
  EXPECT_TRUE(archive->write({one}));
  EXPECT_EQ(*archive->load(), Rows{one});
}

TEST(FailureLimit, CountsByAddressOrBySixtyFourBits) {
  FailureLimit limit;
  const auto at = [](const char* text) { return *IpAddress::parse(text); };
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(limit.may_try(at("192.0.2.1"), kStart));
    limit.failed(at("192.0.2.1"), kStart);
    limit.failed(at("2001:db8::1"), kStart);
  }
  EXPECT_FALSE(limit.may_try(at("192.0.2.1"), kStart + 59s));
  EXPECT_TRUE(limit.may_try(at("192.0.2.2"), kStart));
  EXPECT_FALSE(limit.may_try(at("2001:db8::ffff"), kStart));
  EXPECT_TRUE(limit.may_try(at("2001:db8:0:1::1"), kStart));
  EXPECT_TRUE(limit.may_try(at("192.0.2.1"), kStart + 60s));
}

TEST(FailureLimit, AClockSetBackLocksNobodyOut) {
  FailureLimit limit;
  for (int i = 0; i < 10; ++i) limit.failed(IpAddress::v4(1), kStart);
  EXPECT_TRUE(limit.may_try(IpAddress::v4(1), kStart - 2h));
}

TEST(FailureLimit, IsBoundedUnderManySources) {
  FailureLimit limit;
  for (std::uint32_t i = 0; i < 3 * FailureLimit::kMostSources; ++i) {
    limit.failed(IpAddress::v4(i), kStart);
  }
  EXPECT_TRUE(limit.may_try(IpAddress::v4(1), kStart));
}

TEST(Rights, ReadAsTheyAreWritten) {
  for (const char* text : {"connect", "connect,exec", "connect,exec,peers", "peers"}) {
    ASSERT_TRUE(Rights::parse(text)) << text;
    EXPECT_EQ(Rights::parse(text)->to_string(), text);
  }
  for (const char* text : {"", "all", "connect,", ",connect", "connect exec"}) {
    EXPECT_FALSE(Rights::parse(text)) << text;
  }
}

TEST(NodeKey, IsMadeOnceAndForItsOwnerOnly) {
  const Folder folder;
  const std::string file = folder.file("data/wireguard.key");
  const auto made = open_or_create_key(file, counting_random());
  ASSERT_TRUE(made) << made.error().detail;
  EXPECT_EQ((*made)[0] & 7U, 0U);
  EXPECT_EQ((*made)[31] & 0xc0U, 0x40U);
  struct stat status{};
  ASSERT_EQ(stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  ASSERT_EQ(stat(folder.file("data").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
  EXPECT_EQ(*open_or_create_key(file, counting_random()), *made);
  std::ifstream in(file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(text, to_base64(*made) + '\n');
}

TEST(NodeKey, ABrokenOrOpenFileIsRefused) {
  const Folder folder;
  const std::string file = folder.file("wireguard.key");
  std::ofstream(file) << "nonsense\n";
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);
  EXPECT_FALSE(open_or_create_key(file, counting_random()));
  std::ofstream(file) << to_base64(key_of(9)) << '\n';
  EXPECT_TRUE(open_or_create_key(file, counting_random()));
  ASSERT_EQ(chmod(file.c_str(), 0640), 0);
  const auto open = open_or_create_key(file, counting_random());
  ASSERT_FALSE(open);
  EXPECT_NE(open.error().detail.find("chmod 600"), std::string::npos);
}

}  // namespace
}  // namespace rooster::cluster
