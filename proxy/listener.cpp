#include "proxy/listener.hpp"

#include "net/dial.hpp"
#include "proxy/h1_session.hpp"
#include "proxy/port_session.hpp"
#include "proxy/worker_context.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

namespace rooster::proxy {

namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int kMostRest = 4096;  // as long as the backlog

constexpr int kShedPerTurn = 16;

// What accept4 says when it is this process or host that lacks something.
bool is_exhausted(int reason) {
  return reason == EMFILE || reason == ENFILE || reason == ENOBUFS || reason == ENOMEM;
}

Descriptor open_spare() {
  return Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace

std::uint64_t SourceLimit::key(const IpAddress& source) {
  std::uint64_t key = 0;
  const auto& bytes = source.bytes();
  std::memcpy(&key, bytes.data() + (source.is_v4() ? 8 : 0), sizeof key);
  return key;
}

bool SourceLimit::enter(const IpAddress& source) {
  std::uint32_t& count = counts_[key(source)];
  if (count >= max_each_) return false;
  ++count;
  return true;
}

void SourceLimit::leave(const IpAddress& source) {
  const auto found = counts_.find(key(source));
  if (found != counts_.end() && --found->second == 0) counts_.erase(found);
}

Listener::Listener(WorkerContext& context, TaskGroup& group, SourceLimit& sources, Descriptor fd,
                   Options options)
    : context_(context),
      sources_(sources),
      pollable_(context.loop, std::move(fd), Pollable::kReadable | Pollable::kWritable),
      options_(options),
      waiter_(group),
      spare_(open_spare()) {
  net::tune_connection(pollable_.fd());
}

void Listener::stop() {
  stopped_ = true;
  waiter_.notify();
}

Task<> Listener::accept_loop() {
  while (!stopped_) {
    int accepted = 0;
    for (; accepted < kAcceptsPerTurn; ++accepted) {
      if (context_.budget.clients.load(std::memory_order_relaxed) >= context_.budget.max_clients) {
        co_await wait_for_place();
        break;
      }
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      Descriptor fd(::accept4(pollable_.fd(), reinterpret_cast<sockaddr*>(&from), &size,
                              SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd) {
        admit(std::move(fd), from);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        pollable_.clear(Pollable::kReadable);
        break;
      } else if (is_exhausted(errno)) {
        refuse_without_descriptor();
        context_.pool.drop_oldest(kShedPerTurn);
        shed_idle();
        co_await waiter_.wait(context_.loop.now() + limits::kTick);
        break;
      }  // ECONNABORTED and the like: that client is gone, the next one counts
    }
    if (stopped_) break;
    if (accepted == kAcceptsPerTurn) waiter_.notify();  // the sessions have their turn in between
    co_await waiter_.wait(kNever, {&pollable_, Pollable::kReadable});
  }
  accept_rest();
  pollable_.close();
  co_return {};
}

// Those whose handshake the kernel has done already are ours: closing would reset them.
void Listener::accept_rest() {
  for (int accepted = 0; accepted < kMostRest; ++accepted) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    Descriptor fd(::accept4(pollable_.fd(), reinterpret_cast<sockaddr*>(&from), &size,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;
    admit(std::move(fd), from);
  }
}

// At the cap. The backlog holds who comes; clients that have been idle longest make room.
Task<> Listener::wait_for_place() {
  pollfd backlog{pollable_.fd(), POLLIN, 0};
  if (::poll(&backlog, 1, 0) == 0) {
    pollable_.clear(Pollable::kReadable);  // nobody is waiting: nobody has to go
    co_return {};
  }
  TimePoint until = kNever;
  if (shed_idle()) {
    waiter_.notify();  // they end before our next turn
  } else {
    until = context_.loop.now() + limits::kTick;
  }
  co_await waiter_.wait(until);
  co_return {};
}

// False: none is idle.
bool Listener::shed_idle() {
  int shed = 0;
  for (; shed < kShedPerTurn && context_.idle.is_linked(); ++shed) {
    static_cast<ClientSession*>(context_.idle.next())->shed();
  }
  return shed > 0;
}

// No descriptor is left: the spare one lets a client be told by a close, instead of leaving it in
// the backlog while epoll reports it again and again.
void Listener::refuse_without_descriptor() {
  spare_.reset();
  Descriptor client(::accept4(pollable_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  client.reset();
  spare_ = open_spare();
  context_.metrics.connections_refused.add();
  context_.metrics.faults[static_cast<std::size_t>(Fault::DescriptorsExhausted)].add();
}

void start_http(WorkerContext& context, Descriptor fd, const ClientFacts& facts) {
  context.sessions.spawn(
      H1Session::run(std::make_unique<H1Session>(context, std::move(fd), facts)));
}

bool Listener::admit(Descriptor fd, const sockaddr_storage& from) {
  const Endpoint peer = Endpoint::from(from);
  ClientFacts facts;
  facts.peer_address = peer.address;
  facts.trusted = context_.settings->trusted_proxies.contains(peer.address);
  facts.tls = options_.tls;
  facts.port = options_.external_port;
  facts.local_port = options_.local_port;
  // A load balancer's or this host's own connections are many by nature.
  const bool says_who = context_.settings->proxy_protocol_from.contains(peer.address);
  const bool counted = !facts.trusted && !says_who && !peer.address.is_loopback();
  if (counted && !sources_.enter(peer.address)) {
    context_.metrics.connections_refused.add();
    return false;
  }
  if (peer.address.is_loopback()) net::tune_loopback(fd.get());
  facts.source_limit = counted ? &sources_ : nullptr;
  context_.budget.clients.fetch_add(1, std::memory_order_relaxed);
  if (says_who || options_.is_service ||
      PortSession::is_needed(context_.router.plan(options_.external_port), options_)) {
    context_.sessions.spawn(PortSession::run(
        std::make_unique<PortSession>(context_, sources_, std::move(fd), facts, options_, peer)));
  } else {
    start_http(context_, std::move(fd), facts);
  }
  return true;
}

}  // namespace rooster::proxy
