#include "keeper/outbox.hpp"

#include "keeper/packet_channel.hpp"

#include <utility>

namespace rooster::keeper {

void Outbox::connect(int channel) {
  disconnect();
  channel_ = channel;
}

void Outbox::disconnect() {
  channel_ = -1;
  events_may_go_ = false;
  packets_.clear();
}

void Outbox::release_events() {
  if (std::exchange(events_may_go_, true)) return;
  for (Event& one : std::exchange(held_, {})) event(std::move(one));
}

void Outbox::reply(std::uint64_t id, Reply reply) {
  if (channel_ < 0) return;
  packets_.push_back(encode(NumberedReply{.id = id, .reply = std::move(reply)}));
  flush();
}

void Outbox::event(Event event) {
  if (!events_may_go_) {
    held_.push_back(std::move(event));
    return;
  }
  packets_.push_back(encode(std::move(event)));
  flush();
}

void Outbox::flush() {
  while (channel_ >= 0 && !packets_.empty()) {
    const Sending sending = send_packet(channel_, packets_.front());
    if (sending == Sending::WouldBlock || sending == Sending::Gone) return;
    packets_.pop_front();  // Impossible: a reply that can't be sent at all; the server's deadline
                           // ends its wait
  }
}

}  // namespace rooster::keeper
