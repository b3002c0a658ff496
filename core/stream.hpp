// Stream: a non-blocking byte stream over one descriptor, with TLS where an SSL* was given. Try
// first; suspend (by a Waiter) only when the kernel says not yet. Every byte stream of the project
// is one of these.
//
// Writing always takes everything: what the kernel does not take at once waits in the stream,
// encrypted. Whoever writes bounds it by not producing more while has_pending().
#pragma once

#include "core/descriptor.hpp"
#include "core/error.hpp"
#include "core/loop.hpp"

#include <openssl/types.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace rooster {

struct SslDeleter {
  void operator()(SSL* ssl) const;
};
using SslPtr = std::unique_ptr<SSL, SslDeleter>;

/// Says of a socketpair that its end was a reset; whoever sets it does so before it closes the
/// other side.
using ResetFlag = std::shared_ptr<std::atomic<bool>>;

/// What one attempt to read gave.
struct ReadResult {
  enum class Status : std::uint8_t {
    Some,    ///< `bytes` were read
    Later,   ///< nothing yet: wait for the descriptor to be readable
    End,     ///< orderly end: FIN, or close_notify under TLS
    Failed,  ///< reset, TLS error, or FIN without close_notify
  };
  Status status;
  std::size_t bytes = 0;
};

class Stream {
 public:
  /// Takes `fd` (non-blocking). `ready`: what may be assumed of it (Pollable).
  Stream(Loop& loop, Descriptor fd, std::uint8_t ready = Pollable::kWritable);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// From now on everything goes through `ssl`; call before the first byte.
  void secure(SslPtr ssl);
  SSL* ssl() const { return ssl_.get(); }
  /// The end of the bytes is a failure if `flag` is set by then: for descriptors that can't be
  /// reset (a tunnel's socketpairs).
  void watch_reset(ResetFlag flag) { reset_flag_ = std::move(flag); }
  /// And the other way: what is closed next is a reset. False: the descriptor has no flag.
  bool tell_reset() {
    if (reset_flag_) reset_flag_->store(true);
    return reset_flag_ != nullptr;
  }

  /// One attempt. `bytes` smaller than `into` under plain TCP means the kernel had no more.
  ReadResult read(std::span<char> into);
  /// True when a read may give something without waiting for the kernel.
  bool may_read() const;

  /// Sends or keeps all of `bytes`. False: the connection is broken.
  bool write(std::string_view bytes);
  /// Two pieces as one send (plain) or one run of records (TLS).
  bool write(std::string_view first, std::string_view second);
  bool has_pending() const { return pending_begin_ < pending_.size(); }
  std::size_t pending_bytes() const { return pending_.size() - pending_begin_; }
  /// Tries again to send what is pending. False: broken.
  bool flush();

  /// One step of the TLS handshake: Some (done), Later (wait readable; pending output first),
  /// Failed.
  ReadResult::Status handshake();
  /// Announces the end of our bytes: close_notify, then FIN once nothing is pending.
  void shutdown_write();
  /// True once nothing of ours was refused by the kernel for good.
  bool is_broken() const { return broken_; }
  /// Bytes of ours that reached the kernel: 0 means the peer can't have seen any.
  std::size_t sent_bytes() const { return sent_bytes_; }

  /// Bytes of ours that the peer's kernel has acknowledged (a syscall).
  std::size_t delivered_bytes() const;

  Pollable& pollable() { return pollable_; }
  const Pollable& pollable() const { return pollable_; }
  int fd() const { return pollable_.fd(); }
  Interest readable() { return {&pollable_, Pollable::kReadable}; }
  Interest writable() { return {&pollable_, Pollable::kWritable}; }
  /// Only a broken connection or the peer's FIN, for those who do not want to read now.
  Interest gone() { return {&pollable_, Pollable::kPeerClosed | Pollable::kBroken}; }
  void close();
  /// Leaves the loop and hands both over, for a Stream of another loop: give it the descriptor as
  /// readable and writable, then secure(). Nothing may be pending; this Stream is over.
  struct Parts {
    Descriptor fd;
    SslPtr ssl;  ///< may hold bytes that were read already
  };
  Parts release();

 private:
  friend struct StreamBio;
  std::ptrdiff_t receive(char* into, std::size_t size);
  bool send_or_keep(std::string_view bytes);
  bool break_off();
  bool uncork();
  void keep(std::string_view bytes);

  Pollable pollable_;
  SslPtr ssl_;
  ResetFlag reset_flag_;
  std::vector<char> pending_;
  std::size_t pending_begin_ = 0;
  std::size_t corked_ = 0;
  std::size_t sent_bytes_ = 0;
  bool broken_ = false;
  bool was_reset_ = false;
  bool saw_end_ = false;
  bool fin_wanted_ = false;
};

/// Waits until what is pending has been sent. Errors: ClientLeft-like Fault `broken` when the
/// connection broke, `late` at the deadline, or the interruption's.
Task<> drain(Stream& stream, Waiter& waiter, TimePoint deadline, Fault broken, Fault late);

}  // namespace rooster
