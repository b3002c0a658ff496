#include "machines/listen_probe.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::machines {

namespace {

constexpr int kListenState = 10;  // TCP_LISTEN, of the kernel's enum
constexpr int kMaxReplies = 256;  // of 16 KiB: some 40 000 sockets

IpAddress address_of(const inet_diag_msg& message) {
  if (message.idiag_family == AF_INET) return IpAddress::v4(ntohl(message.id.idiag_src[0]));
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), message.id.idiag_src, bytes.size());
  return IpAddress::from_bytes(bytes);
}

// The attribute that the kernel adds for IPv6 listeners.
bool is_v6_only(nlmsghdr& header) {
  auto left =
      static_cast<int>(header.nlmsg_len) - static_cast<int>(NLMSG_LENGTH(sizeof(inet_diag_msg)));
  auto* attribute = reinterpret_cast<rtattr*>(static_cast<char*>(NLMSG_DATA(&header)) +
                                              NLMSG_ALIGN(sizeof(inet_diag_msg)));
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type == INET_DIAG_SKV6ONLY) {
      return *static_cast<const std::uint8_t*>(RTA_DATA(attribute)) != 0;
    }
  }
  return false;
}

}  // namespace

bool ListeningSocket::answers_loopback() const {
  static const IpAddress kAny4 = IpAddress::v4(0);
  static const IpAddress kAny6;
  static const IpAddress kLoopback4 = IpAddress::v4(0x7F000001);
  return address == kAny4 || (address == kAny6 && !is_v6_only) || address == kLoopback4;
}

ListenProbe::ListenProbe()
    : netlink_(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG)) {
}

std::vector<ListeningSocket> ListenProbe::list() {
  std::vector<ListeningSocket> found;
  if (!netlink_) return found;
  dump(AF_INET, found);
  dump(AF_INET6, found);
  return found;
}

void ListenProbe::dump(int family, std::vector<ListeningSocket>& into) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  question.header.nlmsg_seq = ++sequence_;
  question.request.sdiag_family = static_cast<std::uint8_t>(family);
  question.request.sdiag_protocol = IPPROTO_TCP;
  question.request.idiag_states = 1u << kListenState;
  if (::send(netlink_.get(), &question, sizeof question, 0) < 0) return;
  alignas(nlmsghdr) std::array<char, 16 * 1024> bytes;
  for (int reply = 0; reply < kMaxReplies; ++reply) {
    const ssize_t got = ::recv(netlink_.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0)
      return;  // a dump is complete when its answers are read: there is nothing to wait for
    auto left = static_cast<unsigned>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(bytes.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_seq != sequence_) continue;
      if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) return;
      inet_diag_msg message{};
      std::memcpy(&message, NLMSG_DATA(header), sizeof message);
      into.push_back({.address = address_of(message),
                      .port = ntohs(message.id.idiag_sport),
                      .inode = message.idiag_inode,
                      .uid = message.idiag_uid,
                      .is_v6_only = is_v6_only(*header)});
    }
  }
}

}  // namespace rooster::machines
