#include "net/resolver.hpp"

#include <ares.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <list>
#include <map>
#include <string_view>
#include <unordered_map>

#include <strings.h>
#include <sys/time.h>

namespace rooster::net {
namespace {

// Names below "localhost" never leave the host (RFC 6761 §6.3); the name itself is /etc/hosts' to
// say.
bool is_below_localhost(std::string_view name) {
  constexpr std::string_view kEnd = ".localhost";
  if (name.ends_with('.')) name.remove_suffix(1);
  return name.size() > kEnd.size() &&
         ::strncasecmp(name.data() + name.size() - kEnd.size(), kEnd.data(), kEnd.size()) == 0;
}

using namespace std::chrono_literals;

constexpr auto kFailedAgain = 1s;  // a failing name is not asked for more often

std::vector<IpAddress> addresses_of(const ares_addrinfo& info) {
  std::vector<IpAddress> addresses;
  for (const ares_addrinfo_node* node = info.nodes; node != nullptr; node = node->ai_next) {
    sockaddr_storage storage{};
    std::memcpy(&storage, node->ai_addr, std::min<std::size_t>(node->ai_addrlen, sizeof storage));
    const IpAddress address = Endpoint::from(storage).address;
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

int lowest_ttl(const ares_addrinfo& info) {
  int lowest = info.nodes != nullptr ? info.nodes->ai_ttl : 0;
  for (const ares_addrinfo_node* node = info.nodes; node != nullptr; node = node->ai_next) {
    lowest = std::min(lowest, node->ai_ttl);
  }
  return std::max(lowest, 0);
}

}  // namespace

struct Resolver::Impl {
  struct Name {
    std::string name;
    std::vector<IpAddress> addresses;  // the last good answer
    TimePoint fresh_until{};
    TimePoint ask_again{};  // after a failure
    std::string failure;
    bool asking = false;
    std::vector<Waiter*> waiting;
    TimePoint used{};
  };
  /// What c-ares gives back to the callback; alive as long as the resolver.
  struct Query {
    Impl* impl;
    std::string name;
  };

  Impl(Loop& loop_, ResolverOptions options_);
  ~Impl();
  void ask(Name& name);
  void answered(const std::string& name, int status, const ares_addrinfo* info);
  void socket_state(int fd, bool readable, bool writable);
  void process(int readable, int writable);
  void set_timer();
  void make_room();

  Loop& loop;
  ResolverOptions options;
  ares_channel channel = nullptr;
  bool library = false;
  std::map<int, Watch> watches;
  Timer timer;
  std::unordered_map<std::string, Name> names;
  std::size_t asking = 0;
  bool ending = false;
};

Resolver::Impl::Impl(Loop& loop_, ResolverOptions options_)
    : loop(loop_),
      options(std::move(options_)),
      timer(loop_, [this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }) {
  library = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
  ares_options settings{};
  settings.timeout = static_cast<int>(options.try_time.count());
  settings.tries = options.tries;
  settings.sock_state_cb_data = this;
  settings.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
    static_cast<Impl*>(self)->socket_state(fd, readable != 0, writable != 0);
  };
  if (ares_init_options(&channel, &settings,
                        ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) !=
      ARES_SUCCESS) {
    channel = nullptr;
    return;
  }
  if (!options.servers.empty()) ares_set_servers_ports_csv(channel, options.servers.c_str());
}

Resolver::Impl::~Impl() {
  ending = true;
  if (channel != nullptr) ares_destroy(channel);  // calls back with ARES_EDESTRUCTION
  if (library) ares_library_cleanup();
}

void Resolver::Impl::socket_state(int fd, bool readable, bool writable) {
  if (!readable && !writable) {
    watches.erase(fd);
    return;
  }
  const auto [at, is_new] = watches.try_emplace(
      fd, loop, fd, [this, fd] { process(fd, ARES_SOCKET_BAD); },
      [this, fd] { process(ARES_SOCKET_BAD, fd); });
  at->second.want_writable(writable);
}

void Resolver::Impl::process(int readable, int writable) {
  ares_process_fd(channel, readable, writable);
  set_timer();
}

void Resolver::Impl::set_timer() {
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

void Resolver::Impl::ask(Name& name) {
  name.asking = true;
  ++asking;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NOSORT;
  // Ends in the callback, which c-ares may call at once.
  ares_getaddrinfo(
      channel, name.name.c_str(), nullptr, &hints,
      [](void* argument, int status, int, ares_addrinfo* info) {
        const std::unique_ptr<Query> query(static_cast<Query*>(argument));
        query->impl->answered(query->name, status, info);
        if (info != nullptr) ares_freeaddrinfo(info);
      },
      new Query{this, name.name});
  set_timer();
}

// Inside c-ares: only stores and notifies; those who wait are resumed by the loop.
void Resolver::Impl::answered(const std::string& key, int status, const ares_addrinfo* info) {
  if (ending) return;
  Name& name = names.find(key)->second;
  name.asking = false;
  --asking;
  auto addresses =
      status == ARES_SUCCESS && info != nullptr ? addresses_of(*info) : std::vector<IpAddress>();
  if (!addresses.empty()) {
    const Duration life = std::clamp<Duration>(std::chrono::seconds(lowest_ttl(*info)),
                                               options.min_life, options.max_life);
    name.addresses = std::move(addresses);
    name.fresh_until = loop.now() + life;
    name.failure.clear();
  } else {
    name.failure = status == ARES_SUCCESS ? "no address" : ares_strerror(status);
    name.ask_again = loop.now() + kFailedAgain;
  }
  for (Waiter* waiter : name.waiting) waiter->notify();
}

// Only names that nobody asks for leave: those in use are few, bounded by max_lookups.
void Resolver::Impl::make_room() {
  if (names.size() < options.max_names) return;
  auto oldest = names.end();
  for (auto at = names.begin(); at != names.end(); ++at) {
    if (at->second.asking || !at->second.waiting.empty()) continue;
    if (oldest == names.end() || at->second.used < oldest->second.used) oldest = at;
  }
  if (oldest != names.end()) names.erase(oldest);
}

Resolver::Resolver(Loop& loop, ResolverOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(options))) {}

Resolver::~Resolver() = default;

Task<Resolved> Resolver::resolve(std::string text, Waiter& waiter, TimePoint deadline) {
  Impl& impl = *impl_;
  if (const auto address = IpAddress::parse(text)) co_return Resolved{{*address}, kNever};
  if (is_below_localhost(text)) {
    co_return Resolved{{IpAddress::v4(INADDR_LOOPBACK), *IpAddress::parse("::1")}, kNever};
  }
  if (impl.channel == nullptr) {
    co_return Error(Fault::UpstreamUnresolved, Reached::No, "the resolver could not be set up");
  }
  auto found = impl.names.find(text);
  if (found == impl.names.end()) {
    impl.make_room();
    found = impl.names.emplace(text, Impl::Name{}).first;
    found->second.name = text;
  }
  Impl::Name& name = found->second;  // stays while it is waited for
  name.used = impl.loop.now();
  if (name.fresh_until > impl.loop.now()) co_return Resolved{name.addresses, name.fresh_until};
  if (!name.asking && name.ask_again <= impl.loop.now()) {
    if (impl.asking >= impl.options.max_lookups) {
      co_return Error(Fault::UpstreamUnresolved, Reached::No, "too many lookups at a time");
    }
    impl.ask(name);
  }
  if (name.asking) {
    name.waiting.push_back(&waiter);
    Woke woke = Woke::Notified;
    while (name.asking && woke == Woke::Notified) woke = co_await waiter.wait(deadline);
    std::erase(name.waiting, &waiter);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by(), Reached::No);
  }
  const bool fresh = name.fresh_until > impl.loop.now();
  if (!name.addresses.empty()) co_return Resolved{name.addresses, name.fresh_until, !fresh};
  const std::string reason = name.asking ? "no answer in time" : name.failure;
  co_return Error(Fault::UpstreamUnresolved, Reached::No, text + ": " + reason);
}

}  // namespace rooster::net
