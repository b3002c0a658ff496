#include "cli/local_ports.hpp"

#include "core/address.hpp"
#include "net/listen.hpp"
#include "net/unix_address.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::cli {
namespace {

constexpr int kBacklog = 1024;
constexpr int kTriesForBoth = 32;  // ports free on 127.0.0.1 and taken on [::1] are few
constexpr unsigned kOwnerOnly = 0600;

using Bound = std::expected<Descriptor, int>;

Bound listen_on(const IpAddress& address, std::uint16_t port) {
  sockaddr_storage where{};
  const socklen_t size = Endpoint{address, port}.to(where);
  Descriptor socket(::socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!socket) return std::unexpected(errno);
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (where.ss_family == AF_INET6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&where), size) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return std::unexpected(errno);
  }
  return socket;
}

std::uint16_t port_of(const Descriptor& socket) {
  sockaddr_storage where{};
  socklen_t size = sizeof where;
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&where), &size);
  return Endpoint::from(where).port;
}

std::string why_not(const IpAddress& address, const ProxyMapping& mapping, int reason) {
  const std::string place = address.to_string();
  if (reason == EADDRINUSE) return port_taken_text(place, mapping, holder_of(mapping.local_port));
  if (reason == EACCES) {
    return fmt::format("port {} needs root; choose one from 1024 on: {}:{}", mapping.local_port,
                       10'000 + mapping.local_port % 50'000, mapping.remote.port);
  }
  if (reason == EADDRNOTAVAIL) {
    return fmt::format("-b {}: this machine has no such address", place);
  }
  return fmt::format("{}:{}: {}", place, mapping.local_port, std::strerror(reason));
}

bool has_no_such_family(int reason) {
  return reason == EADDRNOTAVAIL || reason == EAFNOSUPPORT;
}

std::expected<BoundMapping, std::string> bind_localhost(const ProxyMapping& mapping) {
  const IpAddress v4 = *IpAddress::parse("127.0.0.1");
  const IpAddress v6 = *IpAddress::parse("::1");
  for (int tries = 1;; ++tries) {
    BoundMapping bound{.mapping = mapping, .port = 0, .listeners = {}};
    Bound first = listen_on(v4, mapping.local_port);
    if (!first) return std::unexpected(why_not(v4, mapping, first.error()));
    bound.port = port_of(*first);
    bound.listeners.push_back(std::move(*first));
    Bound second = listen_on(v6, bound.port);
    if (second) bound.listeners.push_back(std::move(*second));
    if (second || has_no_such_family(second.error())) return bound;
    if (mapping.local_port != 0 || tries == kTriesForBoth) {
      return std::unexpected(why_not(v6, mapping, second.error()));
    }
  }
}

std::expected<BoundMapping, std::string> bind_address(const ProxyMapping& mapping,
                                                      const std::string& text) {
  const auto address = IpAddress::parse(text);
  if (!address) {
    return std::unexpected(fmt::format("-b {}: not an address; e.g. -b 0.0.0.0", text));
  }
  Bound socket = listen_on(*address, mapping.local_port);
  if (!socket) return std::unexpected(why_not(*address, mapping, socket.error()));
  BoundMapping bound{.mapping = mapping, .port = port_of(*socket), .listeners = {}};
  bound.listeners.push_back(std::move(*socket));
  return bound;
}

// "": nobody is there any more, or never was.
std::string why_occupied(const std::string& path) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) return {};
  if (!S_ISSOCK(found.st_mode))
    return path + ": is there already, and is no socket; choose another";
  const auto address = net::UnixAddress::of(path);
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (address && ::connect(probe.get(), address->get(), address->size()) != 0 &&
      errno == ECONNREFUSED) {
    return {};  // left behind by somebody who is gone
  }
  return path + ": another process listens there; stop it, or choose another path";
}

std::expected<BoundMapping, std::string> bind_unix(const ProxyMapping& mapping) {
  if (std::string why = why_occupied(mapping.local_path); !why.empty()) {
    return std::unexpected(std::move(why));
  }
  auto socket = net::listen_unix(mapping.local_path, kOwnerOnly);
  if (!socket) return std::unexpected(socket.error().detail);
  BoundMapping bound{.mapping = mapping, .port = 0, .listeners = {}};
  bound.listeners.push_back(std::move(*socket));
  return bound;
}

// Inodes of the sockets that listen on `port`, from /proc/net/tcp or tcp6.
void add_inodes(const char* table, std::uint16_t port, std::set<std::string>& inodes) {
  std::ifstream in(table);
  const std::string suffix = fmt::format(":{:04X}", port);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >>
        inode;
    constexpr std::string_view kListens = "0A";
    if (state == kListens && local.ends_with(suffix)) inodes.insert("socket:[" + inode + "]");
  }
}

bool holds_one_of(const std::filesystem::path& process, const std::set<std::string>& inodes) {
  std::error_code error;
  for (std::filesystem::directory_iterator at(process / "fd", error), end; !error && at != end;
       at.increment(error)) {
    std::error_code unreadable;
    const auto target = std::filesystem::read_symlink(at->path(), unreadable);
    if (!unreadable && inodes.contains(target.string())) return true;
  }
  return false;
}

}  // namespace

PortHolder holder_of(std::uint16_t port) {
  std::set<std::string> inodes;
  add_inodes("/proc/net/tcp", port, inodes);
  add_inodes("/proc/net/tcp6", port, inodes);
  if (inodes.empty()) return {};
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc", error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    int pid = 0;
    const auto [stop, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong != std::errc() || stop != name.data() + name.size()) continue;
    if (!holds_one_of(at->path(), inodes)) continue;
    PortHolder holder{.pid = pid, .command = {}};
    std::ifstream(at->path() / "comm") >> holder.command;
    return holder;
  }
  return {};
}

std::expected<std::vector<BoundMapping>, std::string> bind_mappings(
    const std::vector<ProxyMapping>& mappings, const std::string& address) {
  std::vector<BoundMapping> all;
  for (const ProxyMapping& mapping : mappings) {
    const bool is_default = address.empty() || address == "localhost";
    auto bound = mapping.is_unix() ? bind_unix(mapping)
                 : is_default      ? bind_localhost(mapping)
                                   : bind_address(mapping, address);
    if (!bound) {
      unbind(all);
      return std::unexpected(std::move(bound.error()));
    }
    all.push_back(std::move(*bound));
  }
  return all;
}

void unbind(const std::vector<BoundMapping>& bound) {
  for (const BoundMapping& one : bound) {
    if (one.mapping.is_unix()) ::unlink(one.mapping.local_path.c_str());
  }
}

}  // namespace rooster::cli
