#include "machines/listen_probe.hpp"

#include "keeper/process_tree.hpp"
#include "keeper/small_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rooster::machines {

namespace {

constexpr int kListenState = 10;  // TCP_LISTEN, of the kernel's enum
constexpr int kMaxReplies = 256;  // of 16 KiB: some 40 000 sockets
constexpr std::size_t kMaxProcesses = 512;
constexpr std::size_t kMaxSocketsEach = 20'000;

IpAddress address_of(const inet_diag_msg& message) {
  if (message.idiag_family == AF_INET) return IpAddress::v4(ntohl(message.id.idiag_src[0]));
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), message.id.idiag_src, bytes.size());
  return IpAddress::from_bytes(bytes);
}

template <class Number>
bool parse(std::string_view text, Number& out) {
  return std::from_chars(text.data(), text.data() + text.size(), out).ec == std::errc();
}

std::vector<std::int32_t> processes_of(const ProcessTree& tree) {
  std::vector<std::int32_t> pids;
  if (tree.cgroup.empty()) {
    for (const keeper::ProcessStat& member :
         keeper::members_of(tree.pid, tree.start_time, keeper::invocation_of(tree.pid))) {
      pids.push_back(member.pid);
    }
    return pids;
  }
  const auto listed = keeper::read_small_file(tree.cgroup + "/cgroup.procs", 64 * 1024);
  std::string_view rest = listed ? std::string_view(*listed) : std::string_view();
  while (!rest.empty() && pids.size() < kMaxProcesses) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::int32_t pid = 0;
    if (parse(rest.substr(0, end), pid)) pids.push_back(pid);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return pids;
}

// The effective user, as sockets that it makes carry: "Uid: <real> <effective> ..." (proc(5)).
std::optional<std::uint32_t> user_of(std::int32_t pid) {
  const auto text = keeper::read_small_file("/proc/" + std::to_string(pid) + "/status", 16 * 1024);
  if (!text) return std::nullopt;
  const std::size_t line = text->find("\nUid:");
  unsigned real = 0;
  unsigned effective = 0;
  if (line == std::string::npos ||
      std::sscanf(text->c_str() + line + 5, "%u %u", &real, &effective) != 2) {
    return std::nullopt;
  }
  return effective;
}

void add_sockets(std::int32_t pid, OwnSockets& own) {
  std::error_code failed;
  const std::filesystem::path folder = "/proc/" + std::to_string(pid) + "/fd";
  std::filesystem::directory_iterator entry(folder, failed);
  if (failed == std::errc::permission_denied) {
    if (const auto user = user_of(pid)) own.hidden_users.push_back(*user);
  }
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    char target[64];
    const ssize_t size = ::readlink(entry->path().c_str(), target, sizeof target);
    constexpr std::string_view kPrefix = "socket:[";
    const std::string_view text(target, size > 0 ? static_cast<std::size_t>(size) : 0);
    std::uint64_t inode = 0;
    if (text.starts_with(kPrefix) && parse(text.substr(kPrefix.size()), inode)) {
      own.inodes.push_back(inode);
    }
    if (own.inodes.size() >= kMaxSocketsEach) break;
  }
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

bool is_member(const ProcessTree& tree, std::int32_t pid) {
  const std::vector<std::int32_t> pids = processes_of(tree);
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

bool OwnSockets::has(const ListeningSocket& socket) const {
  return std::ranges::find(inodes, socket.inode) != inodes.end() ||
         std::ranges::find(hidden_users, socket.uid) != hidden_users.end();
}

OwnSockets sockets_of(const ProcessTree& tree) {
  OwnSockets own;
  for (const std::int32_t pid : processes_of(tree)) {
    if (own.inodes.size() >= kMaxSocketsEach) break;
    add_sockets(pid, own);
  }
  return own;
}

OwnSockets sockets_of_leader(const ProcessTree& tree) {
  OwnSockets own;
  if (keeper::is_running(tree.pid, tree.start_time)) add_sockets(tree.pid, own);
  return own;
}

}  // namespace rooster::machines
