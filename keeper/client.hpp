// Client: the server's side of the channel to the keeper. One thread owns it and watches fd();
// nothing here blocks but call(), which is for start-up.
#pragma once

#include "core/descriptor.hpp"
#include "core/error.hpp"
#include "keeper/protocol.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>

namespace rooster::keeper {

/// The environment variable in which the server finds the number of its channel descriptor.
inline constexpr const char* kChannelVariable = "ROOSTER_KEEPER_FD";

/// Move it only before the first request: callbacks refer to it.
class Client {
 public:
  using OnReply = std::function<void(Reply)>;
  using OnEvent = std::function<void(Event)>;

  /// Requests whose reply is outstanding; one more is answered at once with Failed EAGAIN.
  static constexpr std::size_t kMaxPending = 8192;

  /// `channel`: this end of a SEQPACKET pair; becomes non-blocking.
  explicit Client(Descriptor channel);

  int fd() const { return channel_.get(); }
  /// False once the keeper is gone: the server should end, as its machines have.
  bool is_open() const { return static_cast<bool>(channel_); }
  /// Watch fd() for writability too.
  bool wants_write() const { return is_open() && !unsent_.empty(); }

  /// Sends `request`, or queues it. `on_reply` is called exactly once, from on_readable(), call()
  /// or, where the channel is closed or the bound reached, from here; it may make further requests.
  void request(Request request, OnReply on_reply);

  /// Every alive machine, over as many List replies as it takes; `done(error)` with 0 or errno
  /// comes last.
  void list(std::function<void(Alive)> each, std::function<void(std::int32_t error)> done);

  /// Set it before the first request: events follow that one.
  void set_on_event(OnEvent on_event) { on_event_ = std::move(on_event); }
  /// Called once, when the channel has closed and all outstanding requests have got Failed EPIPE.
  void set_on_closed(std::function<void()> on_closed) { on_closed_ = std::move(on_closed); }

  /// Reads what is there and calls back; then writes what waits. True: stopped at its bound with
  /// more to read, so with an edge-triggered watch call again.
  bool on_readable();
  void on_writable();

  /// Start-up only: sends and waits for this request's reply, at most `timeout` (then Failed
  /// ETIMEDOUT). Other replies and events are delivered meanwhile.
  Reply call(Request request, std::chrono::milliseconds timeout = std::chrono::seconds(10));

 private:
  void deliver(FromKeeper message);
  void flush();
  void close_channel();
  void list_after(std::string after, std::function<void(Alive)> each,
                  std::function<void(std::int32_t error)> done);

  Descriptor channel_;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, OnReply> pending_;
  std::deque<Packet> unsent_;
  OnEvent on_event_;
  std::function<void()> on_closed_;
};

/// The channel that this process's keeper handed down; takes the variable out of the environment.
/// Errors: Internal, where there is none (not started by a keeper).
Result<Client> connect_inherited();

}  // namespace rooster::keeper
