#include "net/fetch.hpp"

#include "net/http1.hpp"

#include <span>

namespace rooster::net {
namespace {

constexpr std::size_t kHeadBytes = 64 * 1024;
constexpr std::size_t kReadBytes = 16 * 1024;

}  // namespace

Task<HttpResponse> fetch(Stream& stream, HttpRequest request, std::string host, Waiter& waiter,
                         TimePoint deadline, std::size_t max_body) {
  if (!stream.write(encode_request(request, host))) {
    co_return Error(Fault::UpstreamReset, "the connection broke while sending");
  }
  ResponseReader reader(kHeadBytes, max_body, request.method == "HEAD");
  std::string input;
  while (!reader.is_done()) {
    const std::size_t before = input.size();
    input.resize(before + kReadBytes);
    const ReadResult got = stream.read(std::span(input).subspan(before));
    input.resize(before + got.bytes);
    if (got.status == ReadResult::Status::Failed) {
      co_return Error(Fault::UpstreamReset, "the connection broke while reading");
    }
    if (got.status == ReadResult::Status::End) {
      if (auto ended = reader.end(); !ended) co_return ended.error();
      break;
    }
    if (got.status == ReadResult::Status::Some) {
      const auto used = reader.put(input);
      if (!used) co_return used.error();
      input.erase(0, *used);
      continue;
    }
    const Interest output = stream.has_pending() ? stream.writable() : Interest{};
    const Woke woke = co_await waiter.wait(deadline, stream.readable(), output);
    if (woke == Woke::Interrupted) co_return Error(waiter.interrupted_by());
    if (woke == Woke::Deadline) co_return Error(Fault::UpstreamTimeout, "no response in time");
    if (!stream.flush()) co_return Error(Fault::UpstreamReset, "the connection broke");
  }
  co_return reader.take();
}

}  // namespace rooster::net
