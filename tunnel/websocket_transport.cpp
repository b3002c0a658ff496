#include "tunnel/websocket_transport.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr int kReadsPerTurn = 4;     // then others get their turn
constexpr auto kKeepalive = 1s;      // flyctl's: a client's empty datagram each idle second
constexpr int kNotSent = 64 * 1024;  // what waits in the kernel is late already
constexpr std::size_t kMaxAnswerBytes = 16 * 1024;

}  // namespace

WebsocketTransport::WebsocketTransport(std::unique_ptr<Stream> stream, WebsocketRole role,
                                       std::string input, WebsocketHooks hooks)
    : stream_(std::move(stream)),
      role_(role),
      input_(std::move(input)),
      hooks_(std::move(hooks)),
      frames_(role),
      datagrams_(role == WebsocketRole::Server) {
  ::setsockopt(stream_->fd(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kNotSent, sizeof kNotSent);
  const int on = 1;
  ::setsockopt(stream_->fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (role_ == WebsocketRole::Client) {
    outgoing_.assign(DatagramReader::kMagic.begin(), DatagramReader::kMagic.end());
  }
}

WebsocketTransport::~WebsocketTransport() = default;

bool WebsocketTransport::write_frame(WebsocketOpcode opcode,
                                     std::span<const std::uint8_t> payload) {
  frame_.clear();
  append_websocket_frame(frame_, opcode, payload, role_, random_);
  sent_something_ = true;
  return stream_->write(frame_);
}

void WebsocketTransport::send(std::span<const std::uint8_t> datagram) {
  const std::size_t queued = outgoing_.size() + stream_->pending_bytes();
  if (closing_ || queued + datagram.size() > kMaxQueuedBytes) {
    ++dropped_;
    return;
  }
  append_datagram(outgoing_, datagram);
}

void WebsocketTransport::flush() {
  if (outgoing_.empty()) return;
  const bool sent = write_frame(WebsocketOpcode::Binary, outgoing_);
  outgoing_.clear();
  if (waiter_ != nullptr && (!sent || stream_->has_pending())) waiter_->notify();
}

void WebsocketTransport::close() {
  closing_ = true;
  if (waiter_ != nullptr) waiter_->notify();
}

Result<> WebsocketTransport::take_control(const WebsocketReader::Piece& piece) {
  if (piece.opcode == WebsocketOpcode::Close) {
    const std::array<std::uint8_t, 2> normal = {0x03, 0xe8};  // 1000
    write_frame(WebsocketOpcode::Close, normal);
    return fail(Fault::UpstreamReset, "the other side closed the WebSocket");
  }
  control_.append(piece.payload.begin(), piece.payload.end());
  if (!piece.ends_frame) return {};
  const std::string payload = std::exchange(control_, {});
  // Whoever pings faster than it reads gets no answers beyond the bound.
  if (piece.opcode == WebsocketOpcode::Ping && stream_->pending_bytes() < kMaxQueuedBytes) {
    write_frame(WebsocketOpcode::Pong,
                {reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size()});
  }
  return {};
}

Result<> WebsocketTransport::take(std::span<std::uint8_t> bytes) {
  WebsocketReader::Piece piece;
  for (;;) {
    auto more = frames_.next(bytes, piece);
    if (!more) return fail(more.error());
    if (!*more) return {};
    if (piece.opcode >= WebsocketOpcode::Close) {
      if (auto done = take_control(piece); !done) return done;
      continue;
    }
    std::span<std::uint8_t> payload = piece.payload;
    while (!payload.empty()) {
      auto datagram = datagrams_.next(payload);
      if (!datagram) return fail(datagram.error());
      if (!datagram->empty()) hooks_.received(*datagram);
    }
  }
}

// True: there may be more at once.
Result<bool> WebsocketTransport::read_some() {
  std::array<char, kReadBytes> bytes;
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    const ReadResult got = stream_->read(bytes);
    if (got.status == ReadResult::Status::Later) return false;
    if (got.status != ReadResult::Status::Some) {
      return fail(Fault::UpstreamReset, "the WebSocket connection ended");
    }
    auto taken = take({reinterpret_cast<std::uint8_t*>(bytes.data()), got.bytes});
    hooks_.burst_ended();
    if (!taken) return fail(taken.error());
    if (!stream_->may_read()) return false;
  }
  return true;
}

Task<> WebsocketTransport::run(TaskGroup& group, Duration patience) {
  Waiter waiter(group);
  waiter_ = &waiter;
  const TimePoint give_up = group.loop().now() + patience;
  TimePoint keepalive = group.loop().now() + kKeepalive;
  Result<> ended = take({reinterpret_cast<std::uint8_t*>(input_.data()), input_.size()});
  hooks_.burst_ended();
  flush();
  bool more = true;
  while (ended && !closing_) {
    if (more) waiter.notify();
    const Interest writable = stream_->has_pending() ? stream_->writable() : Interest{};
    const Interest readable = stream_->readable();
    const Interest both{readable.pollable,
                        static_cast<std::uint8_t>(readable.bits | writable.bits)};
    const TimePoint deadline = std::min(role_ == WebsocketRole::Client ? keepalive : kNever,
                                        authentic_ ? kNever : give_up);
    const Woke woke = co_await waiter.wait(deadline, both);
    if (woke == Woke::Interrupted) {
      ended = fail(waiter.interrupted_by());
      break;
    }
    const TimePoint now = group.loop().now();
    if (!authentic_ && now >= give_up) {
      ended = fail(Fault::IdleTimeout, "no peer showed itself");
      break;
    }
    if (role_ == WebsocketRole::Client && now >= keepalive) {
      if (!sent_something_) send({});
      flush();
      sent_something_ = false;
      keepalive = now + kKeepalive;
    }
    if (!stream_->flush()) {
      ended = fail(Fault::UpstreamReset, "the WebSocket connection broke");
      break;
    }
    auto read = read_some();
    more = read.value_or(false);
    if (!read) ended = fail(read.error());
  }
  waiter_ = nullptr;
  closing_ = true;
  stream_->close();
  if (!ended) co_return ended.error();
  co_return {};
}

// ---- the client's upgrade

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Is `head` the 101 that answers `key`?
Result<> check_upgrade(std::string_view head, std::string_view key) {
  const std::string_view line = head.substr(0, head.find("\r\n"));
  if (!line.starts_with("HTTP/1.1 101")) {
    return fail(Fault::UpstreamBadResponse, "no WebSocket there: " + std::string(line));
  }
  const std::string accept = websocket_accept(key);
  for (std::size_t at = line.size() + 2; at < head.size();) {
    const std::size_t end = head.find("\r\n", at);
    const std::string_view field = head.substr(at, end - at);
    at = end + 2;
    const std::size_t colon = field.find(':');
    if (colon == std::string_view::npos) continue;
    if (lower(field.substr(0, colon)) == "sec-websocket-accept" &&
        trim(field.substr(colon + 1)) == accept) {
      return {};
    }
  }
  return fail(Fault::UpstreamBadResponse, "the 101 answers another Sec-WebSocket-Key");
}

}  // namespace

Task<std::string> upgrade_to_websocket(Stream& stream, std::string host, std::string path,
                                       Waiter& waiter, TimePoint deadline) {
  SystemRandom random;
  const std::string key = websocket_key(random);
  stream.write("GET " + path + " HTTP/1.1\r\nHost: " + host +
               "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: " +
               key + "\r\n\r\n");
  auto sent =
      co_await drain(stream, waiter, deadline, Fault::UpstreamReset, Fault::UpstreamTimeout);
  if (!sent) co_return sent.error();
  std::string answer;
  std::array<char, 4096> piece;
  while (answer.size() < kMaxAnswerBytes) {
    const ReadResult got = stream.read(piece);
    if (got.status == ReadResult::Status::Later) {
      const Woke woke = co_await waiter.wait(deadline, stream.readable());
      if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
      if (woke == Woke::Deadline) co_return Error(Fault::UpstreamTimeout, "WebSocket upgrade");
      continue;
    }
    if (got.status != ReadResult::Status::Some) {
      co_return Error(Fault::UpstreamReset, "closed during the WebSocket upgrade");
    }
    answer.append(piece.data(), got.bytes);
    const std::size_t end = answer.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    auto checked = check_upgrade(std::string_view(answer).substr(0, end + 2), key);
    if (!checked) co_return checked.error();
    co_return answer.substr(end + 4);
  }
  co_return Error(Fault::UpstreamBadResponse, "an endless answer to the WebSocket upgrade");
}

}  // namespace rooster::tunnel
