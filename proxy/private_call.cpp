#include "proxy/private_call.hpp"

#include "net/connect_call.hpp"
#include "proxy/linger.hpp"
#include "proxy/tcp_session.hpp"
#include "proxy/worker_context.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace rooster::proxy {

namespace {

constexpr std::string_view kConnect = "CONNECT ";

// The head of a call, or as much as shows that it is none. Errors: ClientLeft, HeadTimeout,
// HeadTooLarge.
Task<> read_head(Stream& stream, Waiter& waiter, std::string& input, TimePoint deadline) {
  std::array<char, 2048> piece;
  while (true) {
    const std::size_t known = std::min(input.size(), kConnect.size());
    if (std::string_view(input).substr(0, known) != kConnect.substr(0, known)) co_return {};
    if (input.find("\r\n\r\n") != std::string::npos) co_return {};
    if (input.size() > net::kMaxConnectHeadBytes) co_return Error(Fault::HeadTooLarge);
    const ReadResult got =
        stream.may_read() ? stream.read(piece) : ReadResult{ReadResult::Status::Later};
    if (got.status == ReadResult::Status::Some) {
      input.append(piece.data(), got.bytes);
      continue;
    }
    if (got.status != ReadResult::Status::Later) co_return Error(Fault::ClientLeft);
    const Woke woke = co_await waiter.wait(deadline, stream.readable());
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
    if (woke == Woke::Deadline) co_return Error(Fault::HeadTimeout);
  }
}

// A CONNECT to the API itself, for those who know it by its name only: the request within is handed
// over as it would have been outside. None: it was asked only whether it is there.
Task<> call_ourselves(WorkerContext& context, Stream& stream, Waiter& waiter, PrivateSource source,
                      std::string input, HandOver hand_over) {
  stream.write(net::encode_connected(""));
  co_await drain(stream, waiter, context.loop.now() + limits::kHeadTimeout, Fault::ClientLeft,
                 Fault::ClientLeft);
  if (!hand_over || stream.has_pending()) co_return {};
  const auto read =
      co_await read_head(stream, waiter, input, context.loop.now() + limits::kHeadTimeout);
  if (read && !input.starts_with(kConnect)) {
    hand_over(stream.pollable().release(), std::move(input), source);
  }
  co_return {};
}

}  // namespace

Task<> run_private_call(WorkerContext& context, Stream& stream, Waiter& waiter,
                        const PrivateSource& source, const PrivateTable& table, std::string input,
                        const HandOver& hand_over) {
  auto read = co_await read_head(stream, waiter, input, context.loop.now() + limits::kHeadTimeout);
  if (!read && read.error().fault != Fault::HeadTooLarge) co_return {};
  if (read && !input.starts_with(kConnect)) {
    if (!hand_over) co_return {};
    hand_over(stream.pollable().release(), std::move(input), source);
    co_return {};
  }
  const std::size_t head_bytes = read ? input.find("\r\n\r\n") + 4 : input.size();
  const auto call = net::parse_connect(std::string_view(input).substr(0, head_bytes));
  PrivateTarget target{.fault = call ? Fault::NotAllowed : Fault::BadRequest};
  if (!read) target.fault = read.error().fault;
  if (call && source.who != PrivateSource::Who::Machine) {
    target = table.find(source, call->target.host, call->target.port);
    if (target.kind == PrivateTarget::Kind::Api) {
      co_return co_await call_ourselves(context, stream, waiter, source,
                                        input.substr(call->only_wake ? input.size() : head_bytes),
                                        call->only_wake ? HandOver() : hand_over);
    }
    const bool is_app =
        target.kind == PrivateTarget::Kind::Service || target.kind == PrivateTarget::Kind::Machines;
    if (!is_app && target.kind != PrivateTarget::Kind::Refused) target = {};
  }
  const std::string asked = call ? call->target.to_string() : std::string();
  TcpSession session(context,
                     {.stream = stream,
                      .waiter = waiter,
                      .source = &source,
                      .ends = {.from = {source.address, 0}, .to = {}},
                      .asked = asked,
                      .input = std::string_view(input).substr(head_bytes),
                      .is_call = true,
                      .only_wake = call && call->only_wake},
                     std::move(target));
  co_await session.run();
  if (!session.was_connected()) co_await linger(context, stream, waiter);
  co_return {};
}

}  // namespace rooster::proxy
