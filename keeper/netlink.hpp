// Netlink: messages to the kernel's network configuration, and their answers. The kernel works
// while sendmsg(2) runs, so nothing here waits.
#pragma once

#include "core/address.hpp"
#include "core/descriptor.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::keeper {

/// Messages on their way, back to back. What is added goes into the last one begun.
class NetlinkBatch {
 public:
  /// Begins a message; `flags` beside NLM_F_REQUEST.
  void begin(std::uint16_t type, std::uint16_t flags);
  /// A fixed struct, such as ifinfomsg.
  template <class T>
  void add(const T& fixed) {
    append(std::as_bytes(std::span(&fixed, 1)));
  }
  void attribute(std::uint16_t type, std::span<const std::byte> bytes);
  void attribute(std::uint16_t type, std::string_view text);  ///< with its end's zero
  template <class T>
    requires std::is_arithmetic_v<T>
  void attribute(std::uint16_t type, T number) {
    attribute(type, std::as_bytes(std::span(&number, 1)));
  }
  /// IPv4 addresses as 4 bytes.
  void attribute(std::uint16_t type, const IpAddress& address);
  /// Opens a nested attribute; close() closes the one opened last.
  void open(std::uint16_t type);
  void close();

  std::span<const std::byte> bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool is_empty() const { return bytes_.empty(); }

 private:
  void append(std::span<const std::byte> bytes);
  void pad();
  void grow_message();

  std::vector<std::byte> bytes_;
  std::size_t message_ = 0;
  std::vector<std::size_t> open_;
};

/// Stays in the network namespace it was made in, wherever its process goes.
class NetlinkSocket {
 public:
  NetlinkSocket() = default;
  explicit NetlinkSocket(int protocol);
  explicit operator bool() const { return static_cast<bool>(socket_); }

  /// Sends all of it. Returns 0, or the first errno that a message got which asked for an answer.
  /// `answer`: what came beside the errno, one message with its header.
  int send(const NetlinkBatch& batch, std::vector<std::byte>* answer = nullptr);

 private:
  Descriptor socket_;
};

// ---- links, addresses, routes; each returns 0 or errno

int set_link_up(NetlinkSocket& route, std::uint32_t index, std::uint32_t mtu);

/// A link that is up carries packets only when the kernel has noticed its carrier: waits for that,
/// a moment at most.
void wait_for_carrier(NetlinkSocket& route, std::uint32_t index);

/// A veth pair, its near end up, with the same hardware address and without ARP, so that neither
/// side ever asks for a neighbour. The far end is `far_name` in the namespace `far`.
struct VethPair {
  std::string name;
  std::uint32_t index = 0;
  std::string far_name;
  std::uint32_t far_index = 0;
  int far = -1;
  std::uint32_t mtu = 1500;
};
int add_veth(NetlinkSocket& route, const VethPair& pair);
int remove_link(NetlinkSocket& route, std::uint32_t index);

/// Without duplicate address detection and without a route to its prefix.
int add_address(NetlinkSocket& route, std::uint32_t index, const IpAddress& address,
                std::uint8_t bits);

/// What is sent to a new IPv6 address arrives only when the kernel has noticed it: waits for that,
/// a moment at most.
void wait_for_address(NetlinkSocket& route, const IpAddress& address);

struct Route {
  IpAddress destination;  ///< the zero address with bits 0: the family's default
  std::uint8_t bits = 0;  ///< of the family's address
  std::uint32_t index = 0;
  IpAddress gateway{};        ///< unset: on the link
  IpAddress source{};         ///< unset: the kernel's choice
  bool is_local = false;      ///< what it covers is answered here
  std::uint32_t table = 254;  ///< main
};
int add_route(NetlinkSocket& route, const Route& entry);
int remove_route(NetlinkSocket& route, const Route& entry);

/// Packets with this mark are looked up in `table`.
int add_mark_rule(NetlinkSocket& route, int family, std::uint32_t mark, std::uint32_t table);

}  // namespace rooster::keeper
