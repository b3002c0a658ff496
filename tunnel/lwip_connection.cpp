#include "tunnel/lwip_connection.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <lwip/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace rooster::tunnel {

using namespace std::chrono_literals;

namespace {

// tcp_write() takes at most 64 KiB; pieces that are a whole number of segments fill them all.
constexpr std::size_t kPieceBytes = 48 * 1024;
// What a connection may always have on its way, whatever the others have.
constexpr std::size_t kGuaranteedBytes = 64 * 1024;
// A caller that closed still has its bytes delivered, unless nothing moves for this long.
constexpr auto kLingerTime = 60s;
// A pbuf costs this much beside its bytes: a peer that sends single bytes is charged for it.
constexpr std::size_t kPbufBytes = 192;

std::size_t charge(const pbuf& one) {
  return one.len + kPbufBytes;
}

}  // namespace

LwipConnection::LwipConnection(LwipMemory& memory, tcp_pcb& pcb, State state)
    : memory_(memory), pcb_(&pcb), state_(state) {
  ++memory_.connections;
  tcp_arg(pcb_, this);
  tcp_recv(pcb_, on_received);
  tcp_sent(pcb_, on_sent);
  tcp_err(pcb_, on_lost);
  tcp_nagle_disable(pcb_);
}

LwipConnection::~LwipConnection() {
  reset();
  --memory_.connections;
}

void LwipConnection::opened() {
  state_ = State::Open;
  notify();
}

void LwipConnection::notify() {
  if (waiter_ != nullptr) waiter_->notify();
}

std::int8_t LwipConnection::on_received(void* self, tcp_pcb*, pbuf* data, std::int8_t) {
  auto& me = *static_cast<LwipConnection*>(self);
  if (data == nullptr) {
    me.remote_ended_ = true;
    // Both directions have ended: from here on lwIP frees it without a word.
    if (me.caller_ended_) me.let_go();
  } else {
    (me.received_ == nullptr ? me.received_ : me.last_received_->next) = data;
    for (pbuf* one = data; one != nullptr; one = one->next) {
      me.memory_.received_bytes += charge(*one);
      me.last_received_ = one;
    }
  }
  me.notify();
  return ERR_OK;
}

std::int8_t LwipConnection::on_sent(void* self, tcp_pcb*, std::uint16_t bytes) {
  auto& me = *static_cast<LwipConnection*>(self);
  const std::size_t acknowledged = std::min<std::size_t>(bytes, me.sending_bytes_);
  me.sending_bytes_ -= acknowledged;
  me.memory_.sending_bytes -= acknowledged;
  me.notify();
  return ERR_OK;
}

void LwipConnection::on_lost(void* self, std::int8_t error) {
  auto& me = *static_cast<LwipConnection*>(self);
  me.pcb_ = nullptr;  // lwIP frees it
  if (error != ERR_CLSD) me.state_ = error == ERR_RST ? State::Refused : State::Lost;
  me.notify();
}

void LwipConnection::let_go() {
  if (pcb_ == nullptr) return;
  tcp_arg(pcb_, nullptr);
  tcp_recv(pcb_, nullptr);
  tcp_sent(pcb_, nullptr);
  tcp_err(pcb_, nullptr);
  pcb_ = nullptr;
}

void LwipConnection::reset() {
  drop_received(SIZE_MAX);
  memory_.sending_bytes -= std::exchange(sending_bytes_, 0);
  if (tcp_pcb* const pcb = pcb_) {
    let_go();
    tcp_abort(pcb);
    state_ = State::Lost;
  }
}

Task<> LwipConnection::carry(std::unique_ptr<LwipConnection> self, TaskGroup& group, Descriptor fd,
                             std::shared_ptr<std::atomic<bool>> was_reset) {
  Waiter waiter(group);
  Pollable pollable(group.loop(), std::move(fd));
  self->watch(&waiter);
  self->was_reset_ = std::move(was_reset);
  while (self->deliver(pollable) && self->collect(pollable) && !self->is_done()) {
    if (self->state_ != State::Open) break;
    const bool is_caller_gone = pollable.is(Pollable::kBroken);
    const TimePoint deadline = is_caller_gone ? group.loop().now() + kLingerTime : kNever;
    const Woke woke = co_await waiter.wait(deadline, {&pollable, self->wanted(pollable)});
    if (woke == Woke::Deadline || woke == Woke::Interrupted) break;
  }
  if (!self->is_done()) {
    self->reset();
    self->was_reset_->store(true);
  }
  self->watch(nullptr);
  co_return {};
}

std::uint8_t LwipConnection::wanted(const Pollable& pollable) const {
  std::uint8_t bits = 0;
  if (!caller_ended_ && room() > 0) bits |= Pollable::kReadable;
  if (received_ != nullptr) bits |= Pollable::kWritable;
  if (!pollable.is(Pollable::kBroken)) bits |= Pollable::kBroken;
  return bits;
}

// The remote's bytes to the caller. False: the caller does not want them any more.
bool LwipConnection::deliver(Pollable& pollable) {
  while (received_ != nullptr && pollable.is(Pollable::kWritable)) {
    const std::ptrdiff_t written = write_some(pollable.fd());
    if (written == -EAGAIN) {
      pollable.clear(Pollable::kWritable);
      pollable.watch_writable();
      break;
    }
    if (written < 0) return false;
    drop_received(static_cast<std::size_t>(written));
  }
  if (received_ == nullptr && remote_ended_ && !end_delivered_) {
    end_delivered_ = true;
    ::shutdown(pollable.fd(), SHUT_WR);
  }
  return true;
}

std::ptrdiff_t LwipConnection::write_some(int fd) {
  std::array<iovec, 64> pieces;
  std::size_t count = 0;
  std::size_t skip = offset_;
  for (pbuf* one = received_; one != nullptr && count < pieces.size(); one = one->next) {
    pieces[count++] = {static_cast<char*>(one->payload) + skip, one->len - skip};
    skip = 0;
  }
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  const ssize_t written = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (written >= 0) return written;
  return errno == EINTR ? 0 : -errno;
}

// Frees what the caller has, and opens the window by as much.
void LwipConnection::drop_received(std::size_t bytes) {
  std::size_t dropped = 0;
  while (received_ != nullptr) {
    const std::size_t left = received_->len - offset_;
    if (bytes - dropped < left) {
      offset_ += bytes - dropped;
      dropped = bytes;
      break;
    }
    dropped += left;
    offset_ = 0;
    pbuf* const gone = std::exchange(received_, received_->next);
    gone->next = nullptr;
    memory_.received_bytes -= charge(*gone);
    pbuf_free(gone);
  }
  while (pcb_ != nullptr && dropped > 0) {
    const auto step = static_cast<std::uint16_t>(std::min<std::size_t>(dropped, 0xffff));
    tcp_recved(pcb_, step);
    dropped -= step;
  }
}

std::size_t LwipConnection::room() const {
  // A piece may need a segment per MSS and one more; less than that is not worth a read.
  constexpr std::size_t kSegments = kPieceBytes / 512;
  if (pcb_ == nullptr || pcb_->snd_queuelen + kSegments > TCP_SND_QUEUELEN) return 0;
  std::size_t free = pcb_->snd_buf;
  if (memory_.sending_bytes > LwipMemory::kMaxSendingBytes) {
    free = sending_bytes_ < kGuaranteedBytes ? kGuaranteedBytes - sending_bytes_ : 0;
  }
  return free >= kPieceBytes / 8 ? std::min(free, kPieceBytes) : 0;
}

// The caller's bytes to the remote. False: the caller has gone without reading, which is a reset.
bool LwipConnection::collect(Pollable& pollable) {
  bool wrote = false;
  while (!caller_ended_ && pollable.is(Pollable::kReadable)) {
    const std::size_t free = room();
    if (free == 0) break;
    char* const scratch = pollable.loop().cork().data();
    const ssize_t got = ::recv(pollable.fd(), scratch, free, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      pollable.clear(Pollable::kReadable);
      break;
    }
    if (got < 0) return false;
    if (got == 0) {
      if (was_reset_->load()) return false;
      caller_ended_ = true;
      if (tcp_shutdown(pcb_, 0, 1) != ERR_OK) return false;
      if (remote_ended_) let_go();
      return true;
    }
    const auto bytes = static_cast<std::uint16_t>(got);
    if (tcp_write(pcb_, scratch, bytes, TCP_WRITE_FLAG_COPY) != ERR_OK) return false;
    sending_bytes_ += bytes;
    memory_.sending_bytes += bytes;
    wrote = true;
    if (bytes < free && !pollable.is(Pollable::kPeerClosed | Pollable::kBroken)) {
      pollable.clear(Pollable::kReadable);  // the kernel had no more
    }
  }
  if (wrote) tcp_output(pcb_);
  return true;
}

}  // namespace rooster::tunnel
