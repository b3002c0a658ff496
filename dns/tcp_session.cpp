#include "dns/tcp_session.hpp"

#include "dns/lookup.hpp"

#include <array>
#include <utility>

namespace rooster::dns {
namespace {

constexpr std::size_t kReadBytes = 4096;
constexpr std::size_t kLengthBytes = 2;
constexpr int kRoundsPerTurn = 16;

}  // namespace

TcpSession::TcpSession(TaskGroup& group, Descriptor fd, const IpAddress& source,
                       Responder& responder, std::span<char> scratch, SessionLimits limits)
    : group_(group),
      stream_(group.loop(), std::move(fd), Pollable::kReadable | Pollable::kWritable),
      source_(source),
      responder_(responder),
      scratch_(scratch),
      limits_(limits),
      waiter_(group) {}

bool TcpSession::is_busy() const {
  return outstanding_ >= limits_.outstanding || stream_.pending_bytes() >= limits_.unsent_bytes;
}

Task<> TcpSession::run() {
  TimePoint deadline = group_.loop().now() + limits_.idle_time;
  for (int rounds = 1; !waiter_.is_interrupted(); ++rounds) {
    const std::uint64_t before = taken_;
    if (!take_queries() || !stream_.flush()) break;
    // Only a whole question counts: a byte now and then keeps nothing open.
    if (taken_ != before) deadline = group_.loop().now() + limits_.idle_time;
    const bool reads = !is_busy() && !has_ended_;
    const std::size_t had = input_.size();
    if (reads && !read_more()) break;
    if (input_.size() != had || (has_query() && !is_busy())) {
      if (rounds % kRoundsPerTurn != 0) continue;
      waiter_.notify();  // the others have their turn in between
    } else if (has_ended_ && outstanding_ == 0 && !stream_.has_pending()) {
      break;  // its last answers went out after the client's FIN
    }
    const Interest input = reads && !has_ended_ ? stream_.readable() : Interest{};
    const Interest output = stream_.has_pending() ? stream_.writable() : Interest{};
    const Woke woke = co_await waiter_.wait(deadline, input, output);
    if (woke != Woke::Deadline) continue;
    if (outstanding_ == 0) break;
    deadline = group_.loop().now() + limits_.idle_time;
  }
  is_open_ = false;
  stream_.close();
  co_return {};
}

/// A whole one, not yet taken.
bool TcpSession::has_query() const {
  std::string_view rest = input_;
  return take_frame(rest).has_value();
}

// False: the client breaks the rules, or the connection is broken.
bool TcpSession::take_queries() {
  std::string_view rest = input_;
  bool is_fine = true;
  while (is_fine && !is_busy()) {
    const auto length = Reader(rest).u16();
    if (length && (*length < kHeaderBytes || *length > limits_.query_bytes)) return false;
    const auto query = take_frame(rest);
    if (!query) break;
    ++taken_;
    is_fine = answer_one(*query);
  }
  input_.erase(0, input_.size() - rest.size());
  return is_fine;
}

bool TcpSession::answer_one(std::string_view query) {
  const auto outcome =
      responder_.respond(source_, query, Carrier::Stream, scratch_.subspan(kLengthBytes));
  switch (outcome.next) {
    case Responder::Next::Silence:
      return false;  // no answer may be given, and none can be waited for
    case Responder::Next::Wait:
      ++outstanding_;
      group_.spawn(answer_later(shared_from_this(), std::string(query)));
      return is_open_;
    case Responder::Next::Send:
      break;
  }
  scratch_[0] = static_cast<char>(outcome.size >> 8);
  scratch_[1] = static_cast<char>(outcome.size);
  return stream_.write({scratch_.data(), outcome.size + kLengthBytes});
}

// One attempt. False: broken.
bool TcpSession::read_more() {
  std::array<char, kReadBytes> block;
  const ReadResult result = stream_.read(block);
  if (result.status == ReadResult::Status::Some) input_.append(block.data(), result.bytes);
  if (result.status == ReadResult::Status::End) has_ended_ = true;
  return result.status != ReadResult::Status::Failed;
}

// `self` keeps the session until its last answer is there.
Task<> TcpSession::answer_later(std::shared_ptr<TcpSession> self, std::string query) {
  Waiter waiter(group_);
  const auto out = std::make_unique_for_overwrite<std::array<char, kMaxMessageBytes>>();
  const auto size = co_await responder_.recurse(source_, query, Carrier::Stream, *out, waiter);
  --outstanding_;
  if (!is_open_) co_return {};
  if (!size || !stream_.write(frame({out->data(), *size}))) has_ended_ = true;
  waiter_.notify();
  co_return {};
}

}  // namespace rooster::dns
