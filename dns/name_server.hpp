// NameServer: DNS on the descriptors it is given, datagrams and listening streams, on one loop.
#pragma once

#include "core/descriptor.hpp"
#include "core/loop.hpp"
#include "dns/responder.hpp"
#include "dns/tcp_session.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace rooster::dns {

class UdpService;

struct NameServerOptions {
  AnswerOptions answers{};
  SessionLimits session{};
  std::size_t sessions = 512;
  std::size_t sessions_per_source = 32;
};

class NameServer {
 public:
  /// All belongs to the loop's thread; `directory` may change between two turns. `recursor` null:
  /// names outside the private zones are refused. Both outlive the server.
  NameServer(Loop& loop, const Directory& directory, Recursor* recursor, NetworkOf network_of,
             NameServerOptions options = {});
  /// After stop() has called back.
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  /// A bound UDP socket, of either family.
  void serve_datagrams(Descriptor fd);
  /// A listening TCP socket. Connections over the limits are closed at once.
  void serve_streams(Descriptor fd);
  /// A TCP connection from `source` that was accepted elsewhere.
  void serve_stream(Descriptor fd, const IpAddress& source);
  /// A datagram from `source` that came some other way; `send` gets the reply, if there is one.
  using Send = std::move_only_function<void(std::string_view reply)>;
  void serve_query(const IpAddress& source, std::string query, Send send);
  /// Ends all; `done` runs once nothing of it is left.
  void stop(std::move_only_function<void()> done);
  const ServerCounts& counts() { return responder_.counts(); }

 private:
  Task<> accept_loop(std::unique_ptr<Pollable> listener);
  Task<> serve_session(Descriptor fd, IpAddress source);
  Task<> answer_later(IpAddress source, std::string query, Send send);

  TaskGroup group_;
  Responder responder_;
  NameServerOptions options_;
  std::unique_ptr<char[]> scratch_;
  std::vector<std::unique_ptr<UdpService>> datagrams_;
  std::unordered_map<IpAddress, std::size_t, AddressHash> sessions_of_;
  std::size_t sessions_ = 0;
};

}  // namespace rooster::dns
