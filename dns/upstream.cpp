#include "dns/upstream.hpp"

#include "core/private_address.hpp"
#include "dns/message.hpp"

#include <ares.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include <sys/stat.h>
#include <sys/time.h>

namespace rooster::dns {
namespace {

using namespace std::chrono_literals;

constexpr auto kLookAtFileEach = 5s;
constexpr const char* kResolvConf = "/etc/resolv.conf";

std::optional<Endpoint> endpoint_of(const ares_addr_port_node& node) {
  sockaddr_storage storage{};
  if (node.family == AF_INET) {
    sockaddr_in four{.sin_family = AF_INET, .sin_addr = node.addr.addr4};
    std::memcpy(&storage, &four, sizeof four);
  } else if (node.family == AF_INET6) {
    sockaddr_in6 six{.sin6_family = AF_INET6};
    std::memcpy(&six.sin6_addr, &node.addr.addr6, sizeof six.sin6_addr);
    std::memcpy(&storage, &six, sizeof six);
  } else {
    return std::nullopt;
  }
  Endpoint endpoint = Endpoint::from(storage);
  endpoint.port = static_cast<std::uint16_t>(node.udp_port != 0 ? node.udp_port : 53);
  return endpoint;
}

ares_addr_port_node node_of(const Endpoint& endpoint) {
  ares_addr_port_node node{};
  sockaddr_storage storage{};
  endpoint.to(storage);
  node.family = storage.ss_family;
  if (storage.ss_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &storage, sizeof four);
    node.addr.addr4 = four.sin_addr;
  } else {
    sockaddr_in6 six{};
    std::memcpy(&six, &storage, sizeof six);
    std::memcpy(&node.addr.addr6, &six.sin6_addr, sizeof node.addr.addr6);
  }
  node.udp_port = node.tcp_port = endpoint.port;
  return node;
}

/// Moves when the file is written anew.
std::int64_t written_at(const char* path) {
  struct stat status{};
  if (::stat(path, &status) != 0) return 0;
  return status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

struct Upstream::Impl {
  struct Asked {
    Impl* impl;
    Answered answered;
  };

  Impl(Loop& loop_, UpstreamOptions options_);
  ~Impl();
  void open();
  void close();
  void follow_file();
  void choose_servers();
  void socket_state(int fd, bool readable, bool writable);
  void process(int readable, int writable);
  void set_timer();

  Loop& loop;
  UpstreamOptions options;
  bool library = false;
  ares_channel channel = nullptr;
  std::vector<Endpoint> servers;
  std::map<int, Watch> watches;
  Timer timer;
  std::size_t outstanding = 0;
  TimePoint looked_at_file{};
  std::int64_t file_written = 0;
  bool ending = false;
};

Upstream::Impl::Impl(Loop& loop_, UpstreamOptions options_)
    : loop(loop_),
      options(std::move(options_)),
      timer(loop_, [this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }) {
  library = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
  open();
}

Upstream::Impl::~Impl() {
  ending = true;
  close();
  if (library) ares_library_cleanup();
}

void Upstream::Impl::open() {
  looked_at_file = loop.now();
  file_written = written_at(kResolvConf);
  ares_options settings{};
  // Answers up to this size are taken from a datagram, larger ones over TCP.
  settings.flags = ARES_FLAG_EDNS;
  settings.ednspsz = static_cast<int>(kMaxUdpBytes);
  settings.timeout = static_cast<int>(options.try_time.count());
  settings.tries = options.tries;
  settings.sock_state_cb_data = this;
  settings.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
    static_cast<Impl*>(self)->socket_state(fd, readable != 0, writable != 0);
  };
  constexpr int kGiven = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                         ARES_OPT_SOCK_STATE_CB;
  if (ares_init_options(&channel, &settings, kGiven) != ARES_SUCCESS) {
    channel = nullptr;
    return;
  }
  std::string list;
  for (const std::string& server : options.servers) list += (list.empty() ? "" : ",") + server;
  if (!list.empty() && ares_set_servers_ports_csv(channel, list.c_str()) != ARES_SUCCESS) {
    ares_set_servers_ports(channel, nullptr);  // a list that is none names nobody
  }
  choose_servers();
}

void Upstream::Impl::close() {
  if (channel != nullptr) ares_destroy(channel);  // calls back with ARES_EDESTRUCTION
  channel = nullptr;
  watches.clear();
}

void Upstream::Impl::choose_servers() {
  servers.clear();
  ares_addr_port_node* found = nullptr;
  if (ares_get_servers_ports(channel, &found) != ARES_SUCCESS) return;
  for (const ares_addr_port_node* node = found; node != nullptr; node = node->next) {
    const auto endpoint = endpoint_of(*node);
    if (!endpoint || is_private(endpoint->address)) continue;
    if (std::ranges::find(options.own, *endpoint) == options.own.end()) {
      servers.push_back(*endpoint);
    }
  }
  if (found != nullptr) ares_free_data(found);
  std::vector<ares_addr_port_node> nodes;
  for (const Endpoint& server : servers) nodes.push_back(node_of(server));
  for (std::size_t i = 1; i < nodes.size(); ++i) nodes[i - 1].next = &nodes[i];
  ares_set_servers_ports(channel, nodes.empty() ? nullptr : nodes.data());
}

// A node that changes its network gets another resolv.conf; c-ares reads it only once.
void Upstream::Impl::follow_file() {
  if (!options.servers.empty() || outstanding != 0) return;
  if (loop.now() - looked_at_file < kLookAtFileEach) return;
  looked_at_file = loop.now();
  if (written_at(kResolvConf) == file_written) return;
  close();
  open();
}

void Upstream::Impl::socket_state(int fd, bool readable, bool writable) {
  if (!readable && !writable) {
    watches.erase(fd);
    return;
  }
  const auto [at, is_new] = watches.try_emplace(
      fd, loop, fd, [this, fd] { process(fd, ARES_SOCKET_BAD); },
      [this, fd] { process(ARES_SOCKET_BAD, fd); });
  at->second.want_writable(writable);
}

void Upstream::Impl::process(int readable, int writable) {
  if (channel == nullptr) return;
  ares_process_fd(channel, readable, writable);
  set_timer();
}

void Upstream::Impl::set_timer() {
  timeval space{};
  const timeval* next = ares_timeout(channel, nullptr, &space);
  if (next == nullptr) {
    timer.cancel();
  } else {
    // One millisecond more: c-ares takes an expiry that is a little early for none.
    timer.set(Clock::now() + std::chrono::seconds(next->tv_sec) +
              std::chrono::microseconds(next->tv_usec) + 1ms);
  }
}

Upstream::Upstream(Loop& loop, UpstreamOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(options))) {}

Upstream::~Upstream() = default;

void Upstream::ask(std::string_view query, Answered answered) {
  impl_->follow_file();
  if (impl_->channel == nullptr || impl_->servers.empty()) {
    answered({}, "no name server to ask");
    return;
  }
  ++impl_->outstanding;
  auto* asked = new Impl::Asked{impl_.get(), std::move(answered)};
  // Ends in the callback, which c-ares may call at once.
  ares_send(
      impl_->channel, reinterpret_cast<const unsigned char*>(query.data()),
      static_cast<int>(query.size()),
      [](void* argument, int status, int, unsigned char* response, int size) {
        const std::unique_ptr<Impl::Asked> own(static_cast<Impl::Asked*>(argument));
        if (own->impl->ending) return;
        --own->impl->outstanding;
        if (status == ARES_SUCCESS && response != nullptr) {
          own->answered({reinterpret_cast<const char*>(response), static_cast<std::size_t>(size)},
                        {});
        } else {
          own->answered({}, ares_strerror(status));
        }
      },
      asked);
  impl_->set_timer();
}

std::vector<Endpoint> Upstream::servers() const {
  return impl_->servers;
}

}  // namespace rooster::dns
