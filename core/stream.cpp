#include "core/stream.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace rooster {
namespace {

// libc's recv() and send() are cancellation points, which costs a process with threads two atomic
// exchanges a call, about 1 % of a small request. Nobody here is ever cancelled that way.
ssize_t receive_now(int fd, char* into, std::size_t size) {
  return ::syscall(SYS_recvfrom, fd, into, size, 0, nullptr, nullptr);
}

ssize_t send_now(int fd, std::string_view bytes) {
  return ::syscall(SYS_sendto, fd, bytes.data(), bytes.size(), MSG_NOSIGNAL, nullptr, 0);
}

}  // namespace

void SslDeleter::operator()(SSL* ssl) const {
  SSL_free(ssl);
}

// The BIO between OpenSSL and the descriptor: reads straight from it, gathers written records in
// the loop's cork.
struct StreamBio {
  static int write(BIO* bio, const char* bytes, int size) {
    auto* stream = static_cast<Stream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const auto length = static_cast<std::size_t>(size);
    const std::span<char> cork = stream->pollable_.loop().cork();
    if (stream->corked_ + length > cork.size() && !stream->uncork()) return -1;
    if (length > cork.size()) return -1;
    std::memcpy(cork.data() + stream->corked_, bytes, length);
    stream->corked_ += length;
    return size;
  }

  static int read(BIO* bio, char* into, int size) {
    auto* stream = static_cast<Stream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const std::ptrdiff_t got = stream->receive(into, static_cast<std::size_t>(size));
    if (got == -EAGAIN) {
      BIO_set_retry_read(bio);
      return -1;
    }
    if (got == 0) stream->saw_end_ = true;
    return got < 0 ? -1 : static_cast<int>(got);
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static int create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
  }

  // Immutable after its one initialisation, as OpenSSL wants it for the life of the process.
  static const BIO_METHOD* method() {
    static const BIO_METHOD* const kMethod = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rooster stream");
      BIO_meth_set_write(made, write);
      BIO_meth_set_read(made, read);
      BIO_meth_set_ctrl(made, control);
      BIO_meth_set_create(made, create);
      return made;
    }();
    return kMethod;
  }
};

Stream::Stream(Loop& loop, Descriptor fd, std::uint8_t ready)
    : pollable_(loop, std::move(fd), ready) {}

Stream::~Stream() = default;

void Stream::secure(SslPtr ssl) {
  ssl_ = std::move(ssl);
  BIO* bio = BIO_new(StreamBio::method());
  BIO_set_data(bio, this);
  SSL_set_bio(ssl_.get(), bio, bio);
}

// Returns bytes, 0 at FIN, -EAGAIN for later, another -errno when broken. A short read means the
// kernel is empty, so the next read is spared its EAGAIN; but not after FIN, which is told only
// once (edge-triggered).
std::ptrdiff_t Stream::receive(char* into, std::size_t size) {
  if (!pollable_.is(Pollable::kReadable)) return -EAGAIN;
  for (int tries = 0; tries < 4; ++tries) {
    const ssize_t got = receive_now(pollable_.fd(), into, size);
    if (got == 0 && (was_reset_ || (reset_flag_ && reset_flag_->load()))) return -ECONNRESET;
    if (got >= 0) {
      if (got > 0 && static_cast<std::size_t>(got) < size &&
          !pollable_.is(Pollable::kPeerClosed | Pollable::kBroken)) {
        pollable_.clear(Pollable::kReadable);
      }
      return got;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      pollable_.clear(Pollable::kReadable);
      return -EAGAIN;
    }
    return -errno;
  }
  return -EAGAIN;
}

ReadResult Stream::read(std::span<char> into) {
  using enum ReadResult::Status;
  if (!ssl_) {
    const std::ptrdiff_t got = receive(into.data(), into.size());
    if (got > 0) return {Some, static_cast<std::size_t>(got)};
    if (got == 0) return {End};
    return {got == -EAGAIN ? Later : Failed};
  }
  ERR_clear_error();
  const int size = static_cast<int>(std::min<std::size_t>(into.size(), 1 << 30));
  std::size_t total = 0;
  // Records are at most 16 KiB: several fill a larger buffer.
  while (total < static_cast<std::size_t>(size)) {
    const int got = SSL_read(ssl_.get(), into.data() + total, size - static_cast<int>(total));
    if (got > 0) {
      total += static_cast<std::size_t>(got);
      if (!may_read()) break;
      continue;
    }
    if (corked_ != 0) uncork();  // a key update's answer, an alert
    if (total > 0) break;
    const int reason = SSL_get_error(ssl_.get(), got);
    if (reason == SSL_ERROR_WANT_READ) return {saw_end_ ? Failed : Later};
    if (reason == SSL_ERROR_ZERO_RETURN) return {End};
    return {Failed};
  }
  if (corked_ != 0) uncork();
  return {Some, total};
}

bool Stream::may_read() const {
  return pollable_.is(Pollable::kReadable) || (ssl_ && SSL_has_pending(ssl_.get()) == 1);
}

void Stream::keep(std::string_view bytes) {
  if (pending_begin_ == pending_.size()) {
    pending_.clear();
    pending_begin_ = 0;
  }
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  pollable_.watch_writable();
}

// A send that failed by errno. A send that meets a reset uses up the socket's error, and the next
// read would see a plain end; EPIPE is no such case: there a FIN came first.
bool Stream::break_off() {
  was_reset_ = errno != EPIPE;
  broken_ = true;
  return false;
}

bool Stream::send_or_keep(std::string_view bytes) {
  if (broken_) return false;
  if (!has_pending()) {
    while (!bytes.empty()) {
      const ssize_t sent = send_now(pollable_.fd(), bytes);
      if (sent >= 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
        sent_bytes_ += static_cast<std::size_t>(sent);
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return break_off();
      pollable_.clear(Pollable::kWritable);
      break;
    }
  }
  if (!bytes.empty()) keep(bytes);
  return true;
}

bool Stream::uncork() {
  const std::size_t size = corked_;
  corked_ = 0;
  return send_or_keep({pollable_.loop().cork().data(), size});
}

bool Stream::write(std::string_view bytes) {
  if (broken_) return false;
  if (!ssl_) return send_or_keep(bytes);
  ERR_clear_error();
  while (!bytes.empty()) {
    const int piece = static_cast<int>(std::min<std::size_t>(bytes.size(), 16 * 1024));
    const int written = SSL_write(ssl_.get(), bytes.data(), piece);
    if (written <= 0) {
      corked_ = 0;
      broken_ = true;
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return uncork();
}

bool Stream::write(std::string_view first, std::string_view second) {
  if (ssl_ || has_pending() || second.empty()) return write(first) && write(second);
  if (broken_) return false;
  const iovec parts[2] = {{const_cast<char*>(first.data()), first.size()},
                          {const_cast<char*>(second.data()), second.size()}};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = 2;
  ssize_t sent = ::sendmsg(pollable_.fd(), &message, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return break_off();
    sent = 0;
  }
  auto taken = static_cast<std::size_t>(sent);
  sent_bytes_ += taken;
  if (taken < first.size()) return send_or_keep(first.substr(taken)) && send_or_keep(second);
  return send_or_keep(second.substr(taken - first.size()));
}

bool Stream::flush() {
  if (broken_) return false;
  while (has_pending()) {
    const ssize_t sent = send_now(
        pollable_.fd(), {pending_.data() + pending_begin_, pending_.size() - pending_begin_});
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        pollable_.clear(Pollable::kWritable);
        return true;
      }
      return break_off();
    }
    pending_begin_ += static_cast<std::size_t>(sent);
    sent_bytes_ += static_cast<std::size_t>(sent);
  }
  if (!pending_.empty()) {
    pending_ = {};  // a slow client's memory goes back at once
    pending_begin_ = 0;
  }
  if (fin_wanted_) {
    fin_wanted_ = false;
    ::shutdown(pollable_.fd(), SHUT_WR);
  }
  return true;
}

ReadResult::Status Stream::handshake() {
  using enum ReadResult::Status;
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  const int reason = done == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), done);
  if (corked_ != 0 && !uncork()) return Failed;
  if (done == 1) return Some;
  return reason == SSL_ERROR_WANT_READ && !saw_end_ ? Later : Failed;
}

void Stream::shutdown_write() {
  if (broken_) return;
  if (ssl_ && SSL_is_init_finished(ssl_.get())) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    if (corked_ != 0) uncork();
  }
  if (has_pending()) {
    fin_wanted_ = true;
  } else {
    ::shutdown(pollable_.fd(), SHUT_WR);
  }
}

std::size_t Stream::delivered_bytes() const {
  int held = 0;
  if (::ioctl(pollable_.fd(), SIOCOUTQ, &held) != 0 || held < 0) held = 0;
  return sent_bytes_ - std::min(sent_bytes_, static_cast<std::size_t>(held));
}

void Stream::close() {
  pollable_.close();
}

Stream::Parts Stream::release() {
  return {pollable_.release(), std::move(ssl_)};
}

Task<> drain(Stream& stream, Waiter& waiter, TimePoint deadline, Fault broken, Fault late) {
  while (stream.has_pending()) {
    const Woke woke = co_await waiter.wait(deadline, stream.writable());
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
    if (woke == Woke::Deadline) co_return Error(late);
    if (!stream.flush()) co_return Error(broken);
  }
  co_return {};
}

}  // namespace rooster
