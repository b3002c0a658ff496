// Outbox: replies and events on their way to whichever server is there. Events outlive a server:
// they wait for the next one's first request.
#pragma once

#include "keeper/protocol.hpp"

#include <deque>

namespace rooster::keeper {

class Outbox {
 public:
  /// Above this the keeper reads no further requests, so the queue is bounded by it and the number
  /// of machines.
  static constexpr std::size_t kFull = 4096;

  void connect(int channel);
  void disconnect();
  /// The server has made a request, so it listens: events may go.
  void release_events();

  void reply(std::uint64_t id, Reply reply);
  void event(Event event);
  void flush();

  bool wants_write() const { return !packets_.empty(); }
  bool is_full() const { return packets_.size() >= kFull; }

 private:
  int channel_ = -1;
  bool events_may_go_ = false;
  std::deque<Packet> packets_;
  std::deque<Event> held_;
};

}  // namespace rooster::keeper
