#include "core/store.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <sys/stat.h>

namespace rooster {
namespace {

class StoreFile : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(mkdtemp(folder_.data()), nullptr); }
  void TearDown() override { std::filesystem::remove_all(folder_.data()); }
  std::string file() const { return std::string(folder_.data()) + "/state.db"; }

 private:
  std::string folder_ = testing::TempDir() + "rooster-store-XXXXXX";
};

constexpr std::array<std::string_view, 2> kSteps{
    "CREATE TABLE one (id INTEGER PRIMARY KEY, name TEXT, bytes BLOB) STRICT",
    "ALTER TABLE one ADD COLUMN more INTEGER"};

using StoreTest = StoreFile;

std::int64_t count(Store& store) {
  auto statement = store.prepare("SELECT count(*) FROM one");
  EXPECT_TRUE(*(*statement)->step());
  const auto number = (*statement)->integer(0);
  EXPECT_FALSE(*(*statement)->step());
  return number;
}

TEST_F(StoreTest, KeepsWhatWasWrittenOverAnotherOpening) {
  const std::array<std::uint8_t, 3> bytes{0, 1, 255};
  {
    auto store = Store::open(file());
    ASSERT_TRUE(store) << store.error().detail;
    ASSERT_TRUE(store->migrate(kSteps));
    auto insert = store->prepare("INSERT INTO one (name, bytes, more) VALUES (?, ?, ?)");
    ASSERT_TRUE(insert);
    ASSERT_TRUE((*insert)->bind("zero").bind(bytes).bind(std::nullopt).run());
    ASSERT_TRUE((*insert)->bind("").bind(std::span<const std::uint8_t>()).bind(7).run());
  }
  auto store = Store::open(file());
  ASSERT_TRUE(store);
  ASSERT_TRUE(store->migrate(kSteps));
  auto rows = store->prepare("SELECT name, bytes, more FROM one ORDER BY id");
  ASSERT_TRUE(rows);
  ASSERT_TRUE(*(*rows)->step());
  EXPECT_EQ((*rows)->text(0), "zero");
  EXPECT_TRUE(std::ranges::equal((*rows)->blob(1), bytes));
  EXPECT_TRUE((*rows)->is_null(2));
  ASSERT_TRUE(*(*rows)->step());
  EXPECT_EQ((*rows)->text(0), "");
  EXPECT_FALSE((*rows)->is_null(1));
  EXPECT_TRUE((*rows)->blob(1).empty());
  EXPECT_EQ((*rows)->integer(2), 7);
  EXPECT_FALSE(*(*rows)->step());
}

TEST_F(StoreTest, IsReadableByItsOwnerOnly) {
  auto store = Store::open(file());
  ASSERT_TRUE(store);
  ASSERT_TRUE(store->migrate(kSteps));
  for (const std::string& name : {file(), file() + "-wal"}) {
    struct stat status{};
    ASSERT_EQ(stat(name.c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode & 0777U, 0600U) << name;
  }
}

TEST_F(StoreTest, BringsAnOlderFileUpToDate) {
  {
    auto store = Store::open(file());
    ASSERT_TRUE(store->migrate(std::span(kSteps).first(1)));
    ASSERT_FALSE(store->prepare("SELECT more FROM one"));
  }
  auto store = Store::open(file());
  ASSERT_TRUE(store->migrate(kSteps));
  EXPECT_TRUE(store->prepare("SELECT more FROM one"));
}

TEST_F(StoreTest, LeavesANewerFileAlone) {
  auto store = Store::open(file());
  ASSERT_TRUE(store->migrate(kSteps));
  const auto old = store->migrate(std::span(kSteps).first(1));
  ASSERT_FALSE(old);
  EXPECT_NE(old.error().detail.find("newer"), std::string::npos) << old.error().detail;
}

TEST_F(StoreTest, ABrokenStepChangesNothing) {
  auto store = Store::open(file());
  const std::array<std::string_view, 2> broken{kSteps[0],
                                               "CREATE TABLE two (a); CREATE TABLE two (a)"};
  EXPECT_FALSE(store->migrate(broken));
  EXPECT_FALSE(store->prepare("SELECT * FROM two"));
  EXPECT_TRUE(store->migrate(kSteps));
}

TEST_F(StoreTest, AnUncommittedTransactionIsUndone) {
  auto store = Store::open(file());
  ASSERT_TRUE(store->migrate(kSteps));
  {
    const Transaction transaction(*store);
    ASSERT_TRUE(store->run("INSERT INTO one (name) VALUES ('a')"));
  }
  EXPECT_EQ(count(*store), 0);
  Transaction transaction(*store);
  ASSERT_TRUE(store->run("INSERT INTO one (name) VALUES ('a')"));
  ASSERT_TRUE(transaction.commit());
  EXPECT_EQ(count(*store), 1);
}

TEST_F(StoreTest, ErrorsAreValues) {
  EXPECT_FALSE(Store::open("/nowhere/at/all/state.db"));
  std::ofstream(file()) << std::string(8192, 'x');
  const auto store = Store::open(file());
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().detail.find("state.db"), std::string::npos);
}

TEST_F(StoreTest, AStatementThatFailedCanBeUsedAgain) {
  auto store = Store::open(file());
  ASSERT_TRUE(store->migrate(kSteps));
  auto insert = store->prepare("INSERT INTO one (id) VALUES (?)");
  ASSERT_TRUE((*insert)->bind(1).run());
  EXPECT_FALSE((*insert)->bind(1).run());
  EXPECT_FALSE((*insert)->bind(2).bind(3).run());
  EXPECT_TRUE((*insert)->bind(2).run());
  EXPECT_EQ(*store->prepare("INSERT INTO one (id) VALUES (?)"), *insert);
}

}  // namespace
}  // namespace rooster
