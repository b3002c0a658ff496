#include "keeper/netlink.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <poll.h>
#include <sys/socket.h>

namespace rooster::keeper {
namespace {

// One hardware address for both ends of a veth pair: without ARP an end sends to its own.
constexpr std::array<std::byte, 6> kHardware = {std::byte{0x02}, std::byte{0x72}, std::byte{0x6F},
                                                std::byte{0x6F}, std::byte{0x73}, std::byte{0x74}};
constexpr std::uint16_t kNew = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

bool is_set(const IpAddress& address) {
  return address != IpAddress();
}

std::uint8_t family_of(const IpAddress& address) {
  return address.is_v4() ? AF_INET : AF_INET6;
}

void describe_link(NetlinkBatch& batch, const std::string& name, std::uint32_t mtu) {
  batch.attribute(IFLA_IFNAME, name);
  batch.attribute(IFLA_MTU, mtu);
  batch.attribute(IFLA_ADDRESS, kHardware);
}

ifinfomsg link_message(std::uint32_t index, unsigned flags) {
  ifinfomsg link = {};
  link.ifi_family = AF_UNSPEC;
  link.ifi_index = static_cast<int>(index);
  link.ifi_flags = flags;
  link.ifi_change = flags;
  return link;
}

NetlinkBatch route_message(std::uint16_t type, std::uint16_t flags, const Route& entry) {
  NetlinkBatch batch;
  batch.begin(type, flags);
  rtmsg message = {};
  message.rtm_family = family_of(entry.destination);
  message.rtm_dst_len = entry.bits;
  message.rtm_protocol = RTPROT_STATIC;
  message.rtm_type = entry.is_local ? RTN_LOCAL : RTN_UNICAST;
  const bool is_link = !is_set(entry.gateway);
  message.rtm_scope = entry.is_local ? RT_SCOPE_HOST : is_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  if (!is_link) message.rtm_flags = RTNH_F_ONLINK;
  batch.add(message);
  if (entry.bits > 0) batch.attribute(RTA_DST, entry.destination);
  batch.attribute(RTA_OIF, entry.index);
  batch.attribute(RTA_TABLE, entry.table);
  if (!is_link) batch.attribute(RTA_GATEWAY, entry.gateway);
  if (is_set(entry.source)) batch.attribute(RTA_PREFSRC, entry.source);
  return batch;
}

}  // namespace

void NetlinkBatch::append(std::span<const std::byte> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  pad();
  grow_message();
}

void NetlinkBatch::pad() {
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkBatch::grow_message() {
  const auto length = static_cast<std::uint32_t>(bytes_.size() - message_);
  std::memcpy(&bytes_[message_ + offsetof(nlmsghdr, nlmsg_len)], &length, sizeof length);
}

void NetlinkBatch::begin(std::uint16_t type, std::uint16_t flags) {
  message_ = bytes_.size();
  nlmsghdr header = {};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  header.nlmsg_len = sizeof header;
  append(std::as_bytes(std::span(&header, 1)));
}

void NetlinkBatch::attribute(std::uint16_t type, std::span<const std::byte> bytes) {
  rtattr header = {};
  header.rta_type = type;
  header.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(bytes.size()));
  append(std::as_bytes(std::span(&header, 1)));
  append(bytes);
}

void NetlinkBatch::attribute(std::uint16_t type, std::string_view text) {
  const std::string ended(text);
  attribute(type, std::as_bytes(std::span(ended.c_str(), ended.size() + 1)));
}

void NetlinkBatch::attribute(std::uint16_t type, const IpAddress& address) {
  const auto bytes = std::as_bytes(std::span(address.bytes()));
  attribute(type, address.is_v4() ? bytes.last(4) : bytes);
}

void NetlinkBatch::open(std::uint16_t type) {
  open_.push_back(bytes_.size());
  rtattr header = {};
  header.rta_type = static_cast<std::uint16_t>(NLA_F_NESTED | type);
  append(std::as_bytes(std::span(&header, 1)));
}

void NetlinkBatch::close() {
  const std::size_t at = open_.back();
  open_.pop_back();
  const auto length = static_cast<std::uint16_t>(bytes_.size() - at);
  std::memcpy(&bytes_[at + offsetof(rtattr, rta_len)], &length, sizeof length);
}

NetlinkSocket::NetlinkSocket(int protocol)
    : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol)) {
  const int on = 1;
  // Without it each answer repeats the whole request.
  ::setsockopt(socket_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
}

int NetlinkSocket::send(const NetlinkBatch& batch, std::vector<std::byte>* answer) {
  if (::send(socket_.get(), batch.bytes().data(), batch.size(), 0) < 0) return errno;
  int first = 0;
  alignas(nlmsghdr) std::array<char, 16 * 1024> buffer;
  while (true) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return first;
    if (got <= 0) return first != 0 ? first : errno;
    auto left = static_cast<unsigned>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR) {
        const auto bytes = std::as_bytes(std::span(buffer)).first(static_cast<std::size_t>(got));
        if (answer != nullptr) answer->assign(bytes.begin(), bytes.end());
        continue;
      }
      nlmsgerr error = {};
      std::memcpy(&error, NLMSG_DATA(header), sizeof error);
      if (first == 0) first = -error.error;
    }
  }
}

int set_link_up(NetlinkSocket& route, std::uint32_t index, std::uint32_t mtu) {
  NetlinkBatch batch;
  batch.begin(RTM_NEWLINK, NLM_F_ACK);
  batch.add(link_message(index, IFF_UP));
  if (mtu != 0) batch.attribute(IFLA_MTU, mtu);
  return route.send(batch);
}

namespace {

bool has_carrier(NetlinkSocket& route, std::uint32_t index) {
  NetlinkBatch batch;
  batch.begin(RTM_GETLINK, 0);
  batch.add(link_message(index, 0));
  std::vector<std::byte> answer;
  if (route.send(batch, &answer) != 0 || answer.size() < NLMSG_LENGTH(sizeof(ifinfomsg)))
    return false;
  auto left = static_cast<int>(answer.size()) - static_cast<int>(NLMSG_LENGTH(sizeof(ifinfomsg)));
  auto* attribute = reinterpret_cast<rtattr*>(&answer[NLMSG_LENGTH(sizeof(ifinfomsg))]);
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
    if (attribute->rta_type == IFLA_OPERSTATE)
      return *static_cast<const std::uint8_t*>(RTA_DATA(attribute)) == IF_OPER_UP;
  return false;
}

bool is_answered_here(NetlinkSocket& route, const IpAddress& address) {
  NetlinkBatch batch;
  batch.begin(RTM_GETROUTE, 0);
  rtmsg message = {};
  message.rtm_family = family_of(address);
  message.rtm_dst_len = 128;
  batch.add(message);
  batch.attribute(RTA_DST, address);
  std::vector<std::byte> answer;
  if (route.send(batch, &answer) != 0 || answer.size() < NLMSG_LENGTH(sizeof message)) return false;
  std::memcpy(&message, &answer[NLMSG_LENGTH(0)], sizeof message);
  return message.rtm_type == RTN_LOCAL;
}

// The kernel does these in a thread of its own: most often within 100 us, under load within some
// milliseconds.
constexpr int kTries = 200;

}  // namespace

void wait_for_carrier(NetlinkSocket& route, std::uint32_t index) {
  for (int i = 0; i < kTries && !has_carrier(route, index); ++i) ::poll(nullptr, 0, 1);
}

void wait_for_address(NetlinkSocket& route, const IpAddress& address) {
  for (int i = 0; i < kTries && !is_answered_here(route, address); ++i) ::poll(nullptr, 0, 1);
}

int add_veth(NetlinkSocket& route, const VethPair& pair) {
  NetlinkBatch batch;
  batch.begin(RTM_NEWLINK, kNew);
  batch.add(link_message(pair.index, IFF_UP | IFF_NOARP));
  describe_link(batch, pair.name, pair.mtu);
  batch.open(IFLA_LINKINFO);
  batch.attribute(IFLA_INFO_KIND, std::string_view("veth"));
  batch.open(IFLA_INFO_DATA);
  batch.open(VETH_INFO_PEER);
  batch.add(link_message(pair.far_index, IFF_NOARP));  // it can't be up before the pair is one
  describe_link(batch, pair.far_name, pair.mtu);
  batch.attribute(IFLA_NET_NS_FD, pair.far);
  batch.close();
  batch.close();
  batch.close();
  return route.send(batch);
}

int remove_link(NetlinkSocket& route, std::uint32_t index) {
  NetlinkBatch batch;
  batch.begin(RTM_DELLINK, NLM_F_ACK);
  batch.add(link_message(index, 0));
  return route.send(batch);
}

int add_address(NetlinkSocket& route, std::uint32_t index, const IpAddress& address,
                std::uint8_t bits) {
  NetlinkBatch batch;
  batch.begin(RTM_NEWADDR, kNew);
  ifaddrmsg message = {};
  message.ifa_family = family_of(address);
  message.ifa_prefixlen = bits;
  message.ifa_scope = RT_SCOPE_UNIVERSE;
  message.ifa_index = index;
  batch.add(message);
  if (!address.is_v4())
    batch.attribute(IFA_FLAGS, std::uint32_t{IFA_F_NODAD | IFA_F_NOPREFIXROUTE});
  batch.attribute(IFA_LOCAL, address);
  batch.attribute(IFA_ADDRESS, address);
  return route.send(batch);
}

int add_route(NetlinkSocket& route, const Route& entry) {
  return route.send(route_message(RTM_NEWROUTE, kNew, entry));
}

int remove_route(NetlinkSocket& route, const Route& entry) {
  return route.send(route_message(RTM_DELROUTE, NLM_F_ACK, entry));
}

int add_mark_rule(NetlinkSocket& route, int family, std::uint32_t mark, std::uint32_t table) {
  constexpr std::uint32_t kPriority = 10;  // after the table of local addresses, before main
  NetlinkBatch batch;
  batch.begin(RTM_NEWRULE, kNew);
  fib_rule_hdr rule = {};
  rule.family = static_cast<std::uint8_t>(family);
  rule.action = FR_ACT_TO_TBL;
  batch.add(rule);
  batch.attribute(FRA_PRIORITY, kPriority);
  batch.attribute(FRA_FWMARK, mark);
  batch.attribute(FRA_TABLE, table);
  return route.send(batch);
}

}  // namespace rooster::keeper
