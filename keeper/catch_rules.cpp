#include "keeper/catch_rules.hpp"

#include "keeper/nft_batch.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include <linux/netlink.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>

namespace rooster::keeper {
namespace {

constexpr std::string_view kTable = "rooster";
constexpr std::uint16_t kDnsPort = 53;
constexpr std::uint16_t kApiPort = 4280;
constexpr std::uint8_t kTcp = IPPROTO_TCP, kUdp = IPPROTO_UDP;
constexpr std::uint32_t kLoopback = 1;  // lo's index in every namespace
// "Unreachable", to one peer or machine: nobody is flooded by us, and nobody's flood takes
// another's answers.
constexpr std::uint64_t kAnswersPerSecond = 10;

// One transaction is one message, which has to fit the socket's buffer (212 kB).
constexpr std::size_t kKeysPerCommit = 1024;

// nft's numbers of types, for those who list the rules.
constexpr std::uint32_t kAddressType = 8, kAddressV4Type = 7, kPortType = 13, kInterfaceType = 20,
                        kTypeBits = 6;

constexpr std::array<std::uint8_t, 2> kPrivate = {0xFD, 0xAA};
constexpr std::array<std::uint8_t, 16> kMachineDns = {0xFD, 0xAA, 0, 0, 0, 0, 0, 0,
                                                      0,    0,    0, 0, 0, 0, 0, 3};
// fdaa:<net>::3, whatever the network.
constexpr std::array<std::uint8_t, 16> kInfraMask = {
    0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
// A peer's /120 (core/private_address.hpp); a machine's address lies alone in its own.
constexpr std::array<std::uint8_t, 16> kSourceMask = {
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0};
constexpr std::array<std::uint8_t, 4> kHubV4 = {172, 19, 0, 1};

template <class Bytes>
void add(NftKey& key, const Bytes& bytes) {
  const auto raw = std::as_bytes(std::span(bytes));
  key.insert(key.end(), raw.begin(), raw.end());
}

void add_number(NftKey& key, std::uint32_t number) {
  add(key, std::span(&number, 1));
}

NftKey key_of(const IpAddress& address) {
  NftKey key;
  add(key, address.bytes());
  return key;
}

NftKey key_of(const Endpoint& endpoint) {
  NftKey key = key_of(endpoint.address);
  key.push_back(static_cast<std::byte>(endpoint.port >> 8));
  key.push_back(static_cast<std::byte>(endpoint.port & 0xFF));
  key.resize(key.size() + 2);  // a register's width
  return key;
}

template <class T>
std::vector<NftKey> keys_of(const std::vector<T>& all) {
  std::vector<NftKey> keys;
  keys.reserve(all.size());
  for (const T& one : all) keys.push_back(key_of(one));
  return keys;
}

auto bytes_of(const auto& array) {
  return std::as_bytes(std::span(array));
}

void add_refusals(NftBatch& batch) {
  NftRule(batch, "refuse").reset();
  NftRule(batch, "refuse")
      .is_protocol(IPPROTO_UDP)
      .at_most_each("refused", bytes_of(kSourceMask), kAnswersPerSecond)
      .port_unreachable();
  NftRule(batch, "refuse")
      .is_protocol(IPPROTO_UDP)
      .at_most_each_v4("refused4", kAnswersPerSecond)
      .port_unreachable();
  NftRule(batch, "refuse")
      .is_ipv6()
      .icmp_type_is(ICMP6_ECHO_REQUEST)
      .at_most_each("refused", bytes_of(kSourceMask), kAnswersPerSecond)
      .unreachable(ICMP6_DST_UNREACH_ADDR);
  NftRule(batch, "refuse").drop();
}

void add_egress(NftBatch& batch) {
  NftRule(batch, "egress").is_ipv6().catch_ipv6(kCatchPort, kCatchMark);
  NftRule(batch, "egress").is_ipv4().catch_ipv4(kCatchPort, kCatchMark);
  NftRule(batch, "egress").go_to("refuse");
}

void add_private(NftBatch& batch) {
  const auto infra = [](NftRule& rule) -> NftRule& {
    return rule.destination_masked_is(bytes_of(kInfraMask), bytes_of(kMachineDns));
  };
  NftRule(batch, "private").is_ipv4().go_to("refuse");
  NftRule(batch, "private").has_transparent_socket().answer_here(kCatchMark);
  NftRule(batch, "private").icmp_type_is(ICMP6_PACKET_TOO_BIG).accept();
  for (const std::string_view known : {"addresses", "pings"})
    NftRule(batch, "private")
        .icmp_type_is(ICMP6_ECHO_REQUEST)
        .destination_in(known)
        .answer_here(kCatchMark);
  {
    NftRule rule(batch, "private");
    infra(rule).icmp_type_is(ICMP6_ECHO_REQUEST).accept();
  }
  for (const std::uint8_t protocol : {kUdp, kTcp}) {
    NftRule rule(batch, "private");
    infra(rule).is_protocol(protocol).port_is(kDnsPort).accept();
  }
  {
    NftRule rule(batch, "private");
    infra(rule).is_protocol(IPPROTO_TCP).port_is(kApiPort).catch_ipv6(kCatchPort, kCatchMark);
  }
  NftRule(batch, "private")
      .is_protocol(IPPROTO_TCP)
      .destination_and_port_in("ports")
      .catch_ipv6(kCatchPort, kCatchMark);
  NftRule(batch, "private").destination_in("addresses").catch_ipv6(kCatchPort, kCatchMark);
  NftRule(batch, "private").go_to("refuse");
}

void add_arrivals(NftBatch& batch, std::uint32_t tun) {
  NftRule(batch, "arrive").arrived_on(kLoopback).accept();
  if (tun != 0) NftRule(batch, "arrive").arrived_on(tun).go_to("private");
  NftRule(batch, "arrive").is_ipv6().source_not_in("sources").drop();
  NftRule(batch, "arrive").is_ipv6().destination_is_not(bytes_of(kPrivate)).go_to("egress");
  for (const std::uint8_t protocol : {kUdp, kTcp})
    NftRule(batch, "arrive")
        .is_ipv6()
        .destination_is(bytes_of(kMachineDns))
        .is_protocol(protocol)
        .port_is(kDnsPort)
        .accept();
  // What answers the hub's own connections.
  NftRule(batch, "arrive")
      .is_ipv6()
      .destination_is(bytes_of(kMachineDns))
      .is_no_first_packet()
      .accept();
  NftRule(batch, "arrive").is_ipv6().network_in("networks").go_to("private");
  NftRule(batch, "arrive").is_ipv6().go_to("refuse");
  NftRule(batch, "arrive").is_ipv4().source_v4_not_in("sources4").drop();
  NftRule(batch, "arrive")
      .is_ipv4()
      .destination_v4_is(bytes_of(kHubV4))
      .is_no_first_packet()
      .accept();
  NftRule(batch, "arrive").is_ipv4().go_to("egress");
}

struct SourceKeys {
  NftKey address, address_v4, network;
};

SourceKeys keys_of(const CatchRules::Source& source) {
  SourceKeys keys;
  add_number(keys.address, source.index);
  add(keys.address, source.address.bytes());
  add_number(keys.address_v4, source.index);
  add(keys.address_v4, std::span(source.address_v4.bytes()).last(4));
  add_number(keys.network, source.index);
  add(keys.network, std::span(source.address.bytes()).first(6));
  keys.network.resize(keys.network.size() + 2);  // a register's width
  return keys;
}

}  // namespace

CatchRules::CatchRules() : socket_(NETLINK_NETFILTER) {}

int CatchRules::install(std::uint32_t tun) {
  NftBatch batch(kTable);
  batch.add_table();
  batch.add_set("addresses", kAddressType, 16);
  batch.add_set("pings", kAddressType, 16);
  batch.add_set("ports", kAddressType << kTypeBits | kPortType, 20);
  batch.add_set("sources", kInterfaceType << kTypeBits | kAddressType, 20);
  batch.add_set("sources4", kInterfaceType << kTypeBits | kAddressV4Type, 8);
  batch.add_set("networks", kInterfaceType, 12);
  batch.add_counting_set("refused", kAddressType, 16);
  batch.add_counting_set("refused4", kAddressV4Type, 4);
  for (const std::string_view chain : {"refuse", "egress", "private"}) batch.add_chain(chain);
  batch.add_arrival_chain("arrive");
  add_refusals(batch);
  add_egress(batch);
  add_private(batch);
  add_arrivals(batch, tun);
  return batch.commit(socket_);
}

int CatchRules::apply(const Catch& change) {
  if (change.clear) {
    NftBatch batch(kTable);
    for (const std::string_view set : {"addresses", "ports", "pings"}) batch.clear(set);
    if (const int error = batch.commit(socket_); error != 0) return error;
  }
  const auto each = [this](std::string_view set, const std::vector<NftKey>& keys, bool adds) {
    for (std::size_t at = 0; at < keys.size(); at += kKeysPerCommit) {
      const auto begin = keys.begin() + static_cast<std::ptrdiff_t>(at);
      const auto end =
          begin + static_cast<std::ptrdiff_t>(std::min(kKeysPerCommit, keys.size() - at));
      const std::vector<NftKey> some(begin, end);
      NftBatch batch(kTable);
      if (adds)
        batch.add_elements(set, some);
      else
        batch.remove_elements(set, some);
      if (const int error = batch.commit(socket_); error != 0) return error;
    }
    return 0;
  };
  for (const auto& [set, keys, adds] :
       {std::tuple("addresses", keys_of(change.remove_addresses), false),
        std::tuple("ports", keys_of(change.remove_ports), false),
        std::tuple("pings", keys_of(change.remove_pings), false),
        std::tuple("addresses", keys_of(change.add_addresses), true),
        std::tuple("ports", keys_of(change.add_ports), true),
        std::tuple("pings", keys_of(change.add_pings), true)})
    if (const int error = each(set, keys, adds); error != 0) return error;
  return 0;
}

int CatchRules::add_source(const Source& source) {
  const SourceKeys keys = keys_of(source);
  NftBatch batch(kTable);
  batch.add_elements("sources", {keys.address});
  batch.add_elements("sources4", {keys.address_v4});
  batch.add_elements("networks", {keys.network});
  return batch.commit(socket_);
}

int CatchRules::remove_source(const Source& source) {
  const SourceKeys keys = keys_of(source);
  NftBatch batch(kTable);
  batch.remove_elements("sources", {keys.address});
  batch.remove_elements("sources4", {keys.address_v4});
  batch.remove_elements("networks", {keys.network});
  return batch.commit(socket_);
}

}  // namespace rooster::keeper
