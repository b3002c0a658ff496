#include "tests/proxy/edge.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::proxy::testing {

using namespace std::chrono_literals;

namespace {

constexpr auto kPatience = 5s;

Descriptor listen_on_loopback(int backlog, std::uint16_t& port) {
  Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(fd.get(), backlog), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  port = ntohs(address.sin_port);
  return fd;
}

}  // namespace

TcpPair::TcpPair(int send_buffer) {
  std::uint16_t port = 0;
  const Descriptor listener = listen_on_loopback(1, port);
  theirs = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (send_buffer > 0) {
    ::setsockopt(theirs.get(), SOL_SOCKET, SO_RCVBUF, &send_buffer, sizeof send_buffer);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  EXPECT_EQ(::connect(theirs.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ours = Descriptor(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  EXPECT_TRUE(ours);
  ::fcntl(theirs.get(), F_SETFL, O_NONBLOCK);
  if (send_buffer > 0) {
    ::setsockopt(ours.get(), SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
  }
}

void reset_connection(Descriptor& fd) {
  const linger now{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.reset();
}

bool turn_until(Loop& loop, const std::function<bool()>& done) {
  const TimePoint end = Clock::now() + kPatience;
  while (!done()) {
    if (Clock::now() > end) return false;
    loop.run_for(1ms);
  }
  return true;
}

// ---- Peer

bool Peer::fill() {
  char piece[64 * 1024];
  bool any = false;
  while (end_ == End::Open) {
    const ssize_t got = ::recv(fd_.get(), piece, sizeof piece, 0);
    if (got > 0) {
      received_.append(piece, static_cast<std::size_t>(got));
      any = true;
      continue;
    }
    if (got < 0 && errno == EAGAIN) break;
    end_ = got == 0 ? End::Fin : End::Reset;
  }
  return any;
}

std::string Peer::take(std::size_t bytes) {
  std::string taken = received_.substr(0, bytes);
  received_.erase(0, bytes);
  return taken;
}

std::size_t Peer::send_some(std::string_view bytes) {
  std::size_t all = 0;
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    all += static_cast<std::size_t>(sent);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return all;
}

bool Peer::send(std::string_view bytes) {
  return turn_until(*loop_, [&] {
    bytes.remove_prefix(send_some(bytes));
    return bytes.empty();
  });
}

std::string Peer::read(std::size_t bytes) {
  EXPECT_TRUE(turn_until(*loop_,
                         [&] {
                           fill();
                           return received_.size() >= bytes || end_ != End::Open;
                         }))
      << "only: " << received_.substr(0, 500);
  return take(std::min(bytes, received_.size()));
}

std::string Peer::read_until(std::string_view mark) {
  std::size_t at = std::string::npos;
  EXPECT_TRUE(turn_until(*loop_,
                         [&] {
                           fill();
                           at = received_.find(mark);
                           return at != std::string::npos || end_ != End::Open;
                         }))
      << "only: " << received_.substr(0, 500);
  return take(at == std::string::npos ? received_.size() : at + mark.size());
}

std::string Peer::read_to_end() {
  EXPECT_NE(wait_for_end(), End::Open);
  return take(received_.size());
}

std::string Peer::read_some() {
  fill();
  return take(received_.size());
}

Peer::End Peer::wait_for_end() {
  turn_until(*loop_, [&] {
    fill();
    return end_ != End::Open;
  });
  return end_;
}

void Peer::finish() {
  ::shutdown(fd_.get(), SHUT_WR);
}

// ---- Origin

Origin::Origin(Loop& loop, int backlog) : loop_(loop), fd_(listen_on_loopback(backlog, port_)) {}

Peer Origin::accept() {
  Descriptor fd;
  EXPECT_TRUE(turn_until(loop_, [&] {
    fd = Descriptor(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    return static_cast<bool>(fd);
  })) << "nobody connected";
  return {loop_, std::move(fd)};
}

bool Origin::has_connection() {
  loop_.run_for(1ms);
  const Descriptor fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  return static_cast<bool>(fd);
}

// ---- Edge

Edge::Edge(std::size_t max_clients)
    : budget(max_clients),
      context{.id = WorkerId{0},
              .loop = loop,
              .sessions = sessions,
              .router = router,
              .gate = gate,
              .pool = pool,
              .metrics = metrics_.worker(WorkerId{0}),
              .access_log = ring_,
              .request_ids = ids_,
              .budget = budget,
              .background = [this](auto work) { loop.post(std::move(work)); },
              .settings = std::make_shared<EdgeSettings>(
                  EdgeSettings{.region = "gru", .domain = "app.dev"})} {
  app.name = "hello";
  config::Service service;
  service.internal_port = origin.port();
  service.processes = {"app"};
  config::Port port;
  port.start = port.end = 80;
  port.handlers = {config::Handler::Http};
  service.ports = {port};
  app.services = {service};
  app.processes = {config::Process{}};
  view_.waiting = std::make_shared<machines::AppWaiting>();
  view_.wakes = {{.group = "app", .generation = 1, .phase = machines::WakePhase::Ready}};
  add_machine(origin.port());
  adopt();
}

Edge::~Edge() {
  sessions.interrupt_all(Fault::Interrupted);
  EXPECT_TRUE(turn_until(loop, [this] { return sessions.size() == 0; }));
}

void Edge::add_machine(std::uint16_t port) {
  machines::MachineView machine;
  machine.id = {"m" + std::to_string(view_.machines.size())};
  machine.region = "gru";
  machine.group = "app";
  machine.address = *IpAddress::parse("127.0.0.1");
  machine.ports[origin.port()] = port;
  machine.load = std::make_shared<machines::MachineLoad>(AppId{0});
  machine.load_generation = machine.load->reopen(0);
  machine.routable = machine.awake = true;
  view_.machines.push_back(std::move(machine));
}

void Edge::adopt() {
  ++view_.epoch;
  view_.config = std::make_shared<config::AppConfig>(app);
  const auto fact = std::make_shared<const machines::AppView>(view_);
  if (context.views.empty()) context.views.resize(1);
  context.views[0] = fact;
  router.adopt(AppId{0}, view_.config);
  gate.adopt(fact, loop.now());
}

Peer Edge::connect(int send_buffer) {
  TcpPair pair(send_buffer);
  ClientFacts facts;
  facts.peer_address = *IpAddress::parse("192.0.2.1");
  facts.port = facts.local_port = 80;
  budget.clients.fetch_add(1);
  sessions.spawn(H1Session::run(std::make_unique<H1Session>(context, std::move(pair.ours), facts)));
  return {loop, std::move(pair.theirs)};
}

std::vector<std::string> Edge::log() {
  std::vector<std::string> lines;
  AccessRecord record;
  while (ring_.front(record)) {
    lines.push_back(std::to_string(record.status) + " " +
                    std::string(describe(record.fault).token));
    ring_.pop();
  }
  return lines;
}

void Edge::expect_all_given_back() {
  EXPECT_TRUE(turn_until(loop, [this] { return budget.clients.load() == 0; }));
  EXPECT_EQ(sessions.size(), 0u);
  EXPECT_EQ(counters().concurrency.read(), 0);
  EXPECT_EQ(counters().waiting.read(), 0);
  EXPECT_EQ(metrics().waiting.read(), 0);
  EXPECT_EQ(waiting.waiting(), 0u);
  EXPECT_EQ(waiting.waiting_bytes(), 0u);
  EXPECT_EQ(gate.waiting(), 0u);
  for (const machines::MachineView& machine : view_.machines) {
    EXPECT_EQ(machine.load->in_flight(), 0u);
    EXPECT_EQ(machine.load->connections(), 0u);
  }
}

}  // namespace rooster::proxy::testing
