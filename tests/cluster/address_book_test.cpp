#include "cluster/address_book.hpp"

#include "tests/cluster/fixture.hpp"

#include <gtest/gtest.h>

#include <set>

namespace rooster::cluster {
namespace {

using namespace std::chrono_literals;

struct Book {
  Rows rows;
  AddressBook book;
  explicit Book(std::uint32_t peer_indices = kPeerIndices)
      : book({.peer_indices = peer_indices}, counting_random(),
             [this](Row row) { rows.push_back(std::move(row)); }) {}
};

TEST(AddressBook, ANetworkIsItsNameInAnyCase) {
  Book it;
  const NetworkId first = it.book.network("Default");
  EXPECT_NE(first.value, 0U);
  EXPECT_EQ(it.book.network("dEFAULT"), first);
  EXPECT_NE(it.book.network("other"), first);
  EXPECT_EQ(it.book.name_of(first), "Default");
  EXPECT_FALSE(it.book.find_network("third"));
  EXPECT_EQ(it.book.networks().size(), 2U);
  EXPECT_EQ(it.rows.size(), 2U);
}

TEST(AddressBook, NoNetworkIsZeroOrTwice) {
  std::vector<std::uint8_t> given{0, 0, 0, 0, 7, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0};
  std::size_t next = 0;
  AddressBook book(
      {},
      [&](std::span<std::uint8_t> bytes) {
        for (auto& byte : bytes) byte = given.at(next++);
      },
      [](const Row&) {});
  EXPECT_EQ(book.network("a").value, 7U);
  EXPECT_EQ(book.network("b").value, 8U);
}

TEST(AddressBook, AMachineKeepsItsAddress) {
  Book it;
  const NetworkId network = it.book.network("default");
  const IpAddress address = it.book.machine(network, {"d891234a567890"});
  EXPECT_EQ(it.book.machine(network, {"d891234a567890"}), address);
  EXPECT_EQ(private_kind(address), PrivateKind::Machine);
  EXPECT_EQ(network_of(address), network);
  EXPECT_EQ(it.rows.size(), 2U);
  // The first 32 bits of SHA-256("d891234a567890").
  EXPECT_EQ(std::get<MachineRow>(it.rows[1]).part, 0x72373b03U);
  Book again;
  for (const Row& row : it.rows) again.book.restore(row);
  EXPECT_EQ(again.book.machine(network, {"d891234a567890"}), address);
  EXPECT_EQ(again.book.network("default"), network);
  EXPECT_TRUE(again.rows.empty());
}

TEST(AddressBook, ACollidingMachineGetsAnotherPart) {
  Book it;
  const NetworkId network = it.book.network("default");
  it.book.restore(MachineRow{.machine = {"another"}, .part = 0x72373b03});
  const IpAddress address = it.book.machine(network, {"d891234a567890"});
  EXPECT_NE(address, it.book.machine(network, {"another"}));
  EXPECT_EQ(it.book.machine(network, {"d891234a567890"}), address);
}

TEST(AddressBook, AnAppKeepsItsFlycastAddressInEachNetwork) {
  Book it;
  const NetworkId network = it.book.network("default");
  const IpAddress db = it.book.flycast(network, "db");
  EXPECT_EQ(db, flycast_address(network, 2));
  EXPECT_EQ(it.book.flycast(network, "DB"), db);
  const IpAddress web = it.book.flycast(network, "web");
  EXPECT_EQ(web, flycast_address(network, 3));
  Book again;
  for (const Row& row : it.rows) again.book.restore(row);
  EXPECT_EQ(again.book.flycast(network, "web"), web);
  EXPECT_EQ(again.book.flycast(network, "new"), flycast_address(network, 4));
}

TEST(AddressBook, FreedPeerIndicesRestADay) {
  Book it(3);
  const NetworkId network = it.book.network("default");
  EXPECT_EQ(it.book.take_peer(network, kStart), 0U);
  EXPECT_EQ(it.book.take_peer(network, kStart), 1U);
  it.book.free_peer(network, 0, kStart);
  EXPECT_EQ(it.book.take_peer(network, kStart), 2U);
  EXPECT_FALSE(it.book.take_peer(network, kStart + 23h));
  EXPECT_EQ(it.book.take_peer(network, kStart + 24h), 0U);
}

TEST(AddressBook, PeerIndicesDoNotComeBackOverARestart) {
  Book it;
  const NetworkId network = it.book.network("default");
  static_cast<void>(it.book.take_peer(network, kStart));
  const auto second = it.book.take_peer(network, kStart);
  it.book.free_peer(network, *second, kStart);
  Book again;
  for (const Row& row : it.rows) again.book.restore(row);
  Peer first;
  first.network = network;
  again.book.restore(first);
  EXPECT_EQ(again.book.take_peer(network, kStart), 2U);
}

}  // namespace
}  // namespace rooster::cluster
