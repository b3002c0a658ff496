#include "cli/api_call.hpp"

#include "net/fetch.hpp"

#include <array>
#include <chrono>

namespace rooster::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kDialTime = 15s;
// The node tells of a wake at least each ten seconds; its own bound is the app's wake_timeout.
constexpr auto kSilence = 75s;

// Reads until the answer is known. True: it is.
Task<bool> read_some(Stream& stream, Stream* local, net::ConnectReply& reply, Waiter& waiter) {
  std::array<char, 4096> block{};
  const ReadResult got = stream.read(block);
  switch (got.status) {
    case ReadResult::Status::Some: {
      const auto state = reply.put({block.data(), got.bytes});
      if (!state) {
        co_return Error(Fault::UpstreamBadResponse, "what answers there is not a Rooster node");
      }
      co_return *state != net::ConnectReply::State::Waiting;
    }
    case ReadResult::Status::Later:
      break;
    case ReadResult::Status::End:
    case ReadResult::Status::Failed:
      co_return Error(Fault::UpstreamReset, "the node hung up before it answered");
  }
  const Woke woke = co_await waiter.wait(waiter.loop().now() + kSilence, stream.readable(),
                                         local == nullptr ? Interest{} : local->gone());
  if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
  if (woke == Woke::Deadline) {
    co_return Error(Fault::UpstreamTimeout, "the node has said nothing for 75 s");
  }
  // Who only ended its own bytes still wants the answer.
  if (local != nullptr && local->pollable().is(Pollable::kBroken)) {
    co_return Error(Fault::ClientLeft);
  }
  co_return false;
}

}  // namespace

Task<ConnectOutcome> connect_through(Way& way, net::ConnectCall call, Stream* local, Waiter& waiter,
                                     std::function<void(std::string_view)> progress) {
  if (call.token.empty()) call.token = way.token();
  auto stream = co_await way.dial_api(waiter, waiter.loop().now() + kDialTime);
  if (!stream) co_return stream.error();
  if (!(*stream)->write(net::encode_connect(call))) {
    co_return Error(Fault::UpstreamReset, "the node hung up at once");
  }
  net::ConnectReply reply;
  bool is_known = false;
  while (!is_known) {
    // A FIN that came already is told by each wait at once: ask for the answer alone then.
    const bool has_ended = local != nullptr && local->pollable().is(Pollable::kPeerClosed);
    const auto read = co_await read_some(**stream, has_ended ? nullptr : local, reply, waiter);
    for (const std::string& line : reply.take_progress()) progress(line);
    if (!read) co_return read.error();
    is_known = *read;
  }
  if (reply.state() == net::ConnectReply::State::Refused) co_return reply.refusal();
  co_return ConnectOutcome(Connected{
      .stream = std::move(*stream), .first_bytes = reply.take_rest(), .remote = reply.remote()});
}

Task<net::HttpResponse> ask_api(Way& way, net::HttpRequest request, Waiter& waiter,
                                TimePoint deadline) {
  auto stream = co_await way.dial_api(waiter, deadline);
  if (!stream) co_return stream.error();
  if (const std::string token = way.token(); !token.empty()) {
    request.fields.emplace_back("Authorization", "Bearer " + token);
  }
  co_return co_await net::fetch(**stream, std::move(request), "_api.internal", waiter, deadline);
}

}  // namespace rooster::cli
