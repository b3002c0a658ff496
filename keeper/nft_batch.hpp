// NftBatch: one transaction of nf_tables messages; Rule: the expressions of one rule, in order.
#pragma once

#include "keeper/netlink.hpp"

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace rooster::keeper {

/// A key of a set as its lookup finds it in the registers.
using NftKey = std::vector<std::byte>;

class NftBatch {
 public:
  explicit NftBatch(std::string_view table);

  void add_table();
  /// `key_type`: only for people who list the rules.
  void add_set(std::string_view name, std::uint32_t key_type, std::uint32_t key_bytes);
  /// Its elements come and go with the packets that at_most_each() counts; only so many.
  void add_counting_set(std::string_view name, std::uint32_t key_type, std::uint32_t key_bytes);
  void add_chain(std::string_view name);
  /// A chain of the prerouting hook that drops what it doesn't decide.
  void add_arrival_chain(std::string_view name);
  /// Elements that are there, or not there, already make no error.
  void add_elements(std::string_view set, const std::vector<NftKey>& keys);
  void remove_elements(std::string_view set, const std::vector<NftKey>& keys);
  void clear(std::string_view set);

  /// 0 or errno; all of it or nothing.
  int commit(NetlinkSocket& socket);

 private:
  friend class NftRule;
  void begin(std::uint16_t type, std::uint16_t flags);
  void begin_set(std::string_view name, std::uint32_t key_type, std::uint32_t key_bytes,
                 std::uint32_t flags);
  void change_elements(std::uint16_t type, std::string_view set, const std::vector<NftKey>& keys);

  std::string_view table_;
  NetlinkBatch batch_;
  std::uint32_t sets_ = 0;
};

/// Written to the batch as it is built; complete with its last call.
class NftRule {
 public:
  NftRule(NftBatch& batch, std::string_view chain);
  ~NftRule();
  NftRule(const NftRule&) = delete;
  NftRule& operator=(const NftRule&) = delete;

  NftRule& is_ipv6();
  NftRule& is_ipv4();
  NftRule& is_protocol(std::uint8_t protocol);
  NftRule& arrived_on(std::uint32_t index);
  NftRule& destination_is(std::span<const std::byte> prefix);      ///< IPv6
  NftRule& destination_is_not(std::span<const std::byte> prefix);  ///< IPv6
  NftRule& destination_v4_is(std::span<const std::byte> address);
  /// IPv6: destination & mask.
  NftRule& destination_masked_is(std::span<const std::byte> mask, std::span<const std::byte> value);
  NftRule& port_is(std::uint16_t port);
  NftRule& icmp_type_is(std::uint8_t type);
  /// TCP: not a connection's first packet.
  NftRule& is_no_first_packet();
  /// Of a bound, transparent socket of this namespace.
  NftRule& has_transparent_socket();
  NftRule& destination_in(std::string_view set);
  NftRule& destination_and_port_in(std::string_view set);
  NftRule& source_not_in(std::string_view set);     ///< interface . IPv6 source
  NftRule& source_v4_not_in(std::string_view set);  ///< interface . IPv4 source
  NftRule& network_in(std::string_view set);        ///< interface . first 48 bits of destination
  /// Of one source: `bits` of its IPv6 address, or its IPv4 address. `set`: where it is counted.
  NftRule& at_most_each(std::string_view set, std::span<const std::byte> bits, std::uint64_t count);
  NftRule& at_most_each_v4(std::string_view set, std::uint64_t count);

  void accept();
  void drop();
  void go_to(std::string_view chain);
  /// Delivered here whatever its destination: marked.
  void answer_here(std::uint32_t mark);
  /// To the transparent listener on `port`.
  void catch_ipv6(std::uint16_t port, std::uint32_t mark);
  void catch_ipv4(std::uint16_t port, std::uint32_t mark);
  void reset();
  void unreachable(std::uint8_t code);  ///< of ICMPv6
  void port_unreachable();

 private:
  void open(std::string_view expression);
  void close();
  void number(std::uint16_t attribute, std::uint32_t value);
  void data(std::uint16_t attribute, std::span<const std::byte> value);
  void load_meta(std::uint32_t key, std::uint32_t to);
  void load_payload(std::uint32_t base, std::uint32_t offset, std::uint32_t size, std::uint32_t to);
  void compare(std::uint32_t operation, std::span<const std::byte> value);
  void count_in(std::string_view set, std::uint64_t per_second);
  void look_up(std::string_view set, bool inverted);
  void mask(std::span<const std::byte> mask);
  void put(std::uint32_t to, std::span<const std::byte> value);
  void verdict(std::int32_t code, std::string_view chain = {});
  void set_mark(std::uint32_t mark);
  void catch_port(std::uint32_t family, std::uint16_t port, std::uint32_t mark);

  NetlinkBatch& batch_;
};

}  // namespace rooster::keeper
