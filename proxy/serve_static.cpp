// The flow: the file is found (static_file.hpp), the request's conditions and range are held
// against it, then its head and its bytes go to the client as those of an app would.
#include "proxy/serve_static.hpp"

#include "proxy/compression.hpp"
#include "proxy/head_line.hpp"
#include "proxy/static_file.hpp"
#include "proxy/static_path.hpp"
#include "proxy/worker_context.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <string>

#include <unistd.h>

namespace rooster::proxy {
namespace {

constexpr int kPiecesPerTurn = 16;

std::string_view value_of(const RequestHead& head, std::string_view lower_name) {
  const Field* const field = head.find(lower_name);
  return field != nullptr ? field->value : std::string_view();
}

// Weak comparison (RFC 9110 §8.8.3.2): compressed, it went out as a weak one.
bool lists_tag(std::string_view list, std::string_view etag) {
  TokenList tags(list);
  for (auto tag = tags.next(); !tag.empty(); tag = tags.next()) {
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == etag || tag == "*") return true;
  }
  return false;
}

std::optional<std::int64_t> read_http_time(std::string_view text) {
  std::tm parts{};
  const std::string copy(text);
  const char* const end = ::strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return ::timegm(&parts);
}

bool is_unchanged(const RequestHead& head, const StaticFile& file) {
  const std::string_view tags = value_of(head, "if-none-match");
  if (!tags.empty()) return lists_tag(tags, file.etag);
  const std::string_view since = value_of(head, "if-modified-since");
  if (since.empty()) return false;
  const auto time = read_http_time(since);
  return time && file.modified <= *time;
}

// "bytes=first-last", "bytes=first-" or "bytes=-suffix".
struct Range {
  std::optional<std::uint64_t> first;
  std::optional<std::uint64_t> last;
};

std::optional<Range> read_range(std::string_view text) {
  if (!text.starts_with("bytes=")) return std::nullopt;
  text.remove_prefix(6);
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  Range range;
  std::uint64_t number = 0;
  if (dash > 0) {
    if (!read_length(text.substr(0, dash), number)) return std::nullopt;
    range.first = number;
  }
  if (dash + 1 < text.size()) {
    if (!read_length(text.substr(dash + 1), number)) return std::nullopt;
    range.last = number;
  }
  if (!range.first && !range.last) return std::nullopt;
  if (range.first && range.last && *range.last < *range.first) return std::nullopt;
  return range;
}

StaticAnswer answer_range(const Range& range, std::uint64_t size) {
  if (!range.first) {
    const std::uint64_t length = std::min(*range.last, size);
    if (length == 0) return {.status = 416};
    return {.status = 206, .first = size - length, .length = length};
  }
  if (*range.first >= size) return {.status = 416};
  const std::uint64_t last = std::min(range.last.value_or(size - 1), size - 1);
  return {.status = 206, .first = *range.first, .length = last - *range.first + 1};
}

class StaticResponse {
 public:
  StaticResponse(const StaticRequest& request, StaticFilePtr file, RelayFacts& facts)
      : request_(request),
        context_(request.context),
        client_(request.client),
        file_(std::move(file)),
        facts_(facts),
        answer_(answer_static(request.head, *file_)) {}

  Task<bool> run();

 private:
  Result<> send_head();
  Task<> send_body();
  Task<> wait_for_client();
  Task<> let_others();
  Task<std::string_view> read(std::uint64_t offset, std::size_t most);
  Result<> give(std::string_view bytes);
  bool is_head() const { return request_.head.method == Method::Head; }

  const StaticRequest& request_;
  WorkerContext& context_;
  ClientSide& client_;
  const StaticFilePtr file_;
  RelayFacts& facts_;
  const StaticAnswer answer_;
  std::unique_ptr<Compression> compression_;
  std::string content_range_;
  std::string read_;  // what the background thread read
};

Task<bool> StaticResponse::run() {
  facts_.status = answer_.status;
  if (auto sent = send_head(); !sent) co_return sent.error();
  facts_.response_begun = true;
  if (!is_head() && answer_.length > 0) {
    if (auto sent = co_await send_body(); !sent) co_return sent.error();
  }
  if (compression_) {
    if (auto ended = compression_->finish(client_); !ended) co_return ended.error();
    facts_.bytes_out = compression_->bytes_out();
  }
  if (!client_.finish_body({}) || !client_.flush()) co_return Error(Fault::ClientLeft);
  facts_.response_done = true;
  co_return true;
}

Result<> StaticResponse::send_head() {
  ResponseHead& head = context_.scratch.response;
  head.reset();
  head.status = answer_.status;
  const auto add = [&head](std::string_view name, std::string_view value, FieldKind kind) {
    head.field_storage[head.field_count++] = {name, value, kind};
  };
  const bool is_whole = answer_.status == 200;
  if (is_whole || answer_.status == 206) add("Content-Type", file_->type, FieldKind::ContentType);
  if (answer_.status != 416) {
    add("ETag", file_->etag, FieldKind::Other);
    add("Last-Modified", file_->last_modified, FieldKind::Other);
  }
  const bool may_compress = request_.options.compress.value_or(false);
  if (answer_.status == 304 && may_compress && is_compressible_type(file_->type)) {
    add("Vary", "Accept-Encoding", FieldKind::Other);
  }
  if (is_whole) add("Accept-Ranges", "bytes", FieldKind::Other);
  if (answer_.status == 206) {
    content_range_ = fmt::format("bytes {}-{}/{}", answer_.first,
                                 answer_.first + answer_.length - 1, file_->size);
  } else if (answer_.status == 416) {
    content_range_ = fmt::format("bytes */{}", file_->size);
  }
  if (!content_range_.empty()) add("Content-Range", content_range_, FieldKind::Other);
  head.reason = answer_.status == 200   ? "OK"
                : answer_.status == 206 ? "Partial Content"
                : answer_.status == 304 ? "Not Modified"
                                        : "Range Not Satisfiable";
  head.has_length = answer_.status != 304;
  head.content_length = answer_.length;
  if (!is_head() && head.has_length) head.body = {BodyKind::Length, answer_.length};
  const config::HttpOptions& options = request_.options;
  if (may_compress) {
    compression_ =
        Compression::begin(context_.encoders, request_.head, head, options.response_headers);
  }
  const ResponseRules rules{.client_minor = request_.head.http_minor,
                            .keep_alive = request_.head.keep_alive && !context_.draining,
                            .method = request_.head.method,
                            .pristine = options.pristine,
                            .headers = options.response_headers,
                            .request_id = request_.request_id,
                            .date = context_.http_date()};
  return client_.send_head(head, rules) ? Result<>() : fail(Fault::Internal);
}

Task<> StaticResponse::send_body() {
  const std::uint64_t end = answer_.first + answer_.length;
  const std::size_t most = compression_ ? limits::kEncodedAtOnceBytes : limits::kRelayBytes;
  std::uint64_t offset = answer_.first;
  for (int pieces = 1; offset < end; ++pieces) {
    if (!client_.can_take()) {
      if (auto taken = co_await wait_for_client(); !taken) co_return taken.error();
    }
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(most, end - offset));
    const auto piece = co_await read(offset, wanted);
    if (!piece) co_return piece.error();
    if (auto given = give(*piece); !given) co_return given.error();
    offset += piece->size();
    if (pieces % (compression_ ? 1 : kPiecesPerTurn) != 0 || offset == end) continue;
    if (auto turned = co_await let_others(); !turned) co_return turned.error();
  }
  co_return {};
}

// The next bytes, valid until the next suspension.
Task<std::string_view> StaticResponse::read(std::uint64_t offset, std::size_t most) {
  if (!file_->fd) co_return std::string_view(file_->content).substr(offset, most);
  const std::span<char> room = context_.scratch.in_span().first(most);
  if (const std::size_t got = read_without_waiting(*file_, offset, room); got > 0) {
    co_return std::string_view(room.data(), got);
  }
  if (!client_.flush()) co_return Error(Fault::ClientLeft);
  const auto bytes = std::make_shared<std::string>();
  auto done =
      co_await in_background(context_, request_.waiter, [bytes, file = file_, offset, most] {
        bytes->resize(most);
        const ssize_t got =
            ::pread(file->fd.get(), bytes->data(), most, static_cast<off_t>(offset));
        bytes->resize(got > 0 ? static_cast<std::size_t>(got) : 0);
      });
  if (!done) co_return done.error();
  // The file has become shorter than the length that was told.
  if (bytes->empty()) co_return Error(Fault::UpstreamTruncated);
  read_ = std::move(*bytes);
  co_return read_;
}

Result<> StaticResponse::give(std::string_view bytes) {
  if (!compression_) {
    facts_.bytes_out += bytes.size();
    return client_.offer_body(bytes) ? Result<>() : fail(Fault::ClientLeft);
  }
  auto given = compression_->offer(client_, bytes);
  facts_.bytes_out = compression_->bytes_out();
  return given;
}

Task<> StaticResponse::wait_for_client() {
  Pace pace;
  const auto moved = [this] { return client_.delivered_bytes(); };
  pace.begin(context_.loop.now(), moved);
  while (client_.flush() && !client_.can_take()) {
    const Woke woke =
        co_await request_.waiter.wait(pace.deadline(), client_.interest(false, true, false));
    if (woke == Woke::Interrupted) co_return Error(request_.waiter.interrupted_by());
    if (!pace.keeps_up(context_.loop.now(), moved)) co_return Error(Fault::BodyTimeout);
  }
  if (client_.is_gone(false)) co_return Error(Fault::ClientLeft);
  co_return {};
}

Task<> StaticResponse::let_others() {
  if (!client_.flush() || client_.is_gone(false)) co_return Error(Fault::ClientLeft);
  request_.waiter.notify();
  const Woke woke = co_await request_.waiter.wait(kNever);
  if (woke == Woke::Interrupted) co_return Error(request_.waiter.interrupted_by());
  co_return {};
}

}  // namespace

StaticAnswer answer_static(const RequestHead& head, const StaticFile& file) {
  if (is_unchanged(head, file)) return {.status = 304};
  const StaticAnswer whole{.length = file.size};
  const std::string_view text = value_of(head, "range");
  if (text.empty() || head.method != Method::Get) return whole;
  const std::string_view condition = value_of(head, "if-range");
  if (!condition.empty() && condition != file.etag && condition != file.last_modified) return whole;
  const auto range = read_range(text);
  return range ? answer_range(*range, file.size) : whole;
}

Task<bool> serve_static(StaticRequest request, RelayFacts& facts) {
  if (request.head.method != Method::Get && request.head.method != Method::Head) co_return false;
  auto path = static_path(request.app.statics, request.head.path);
  if (!path) co_return false;
  auto file = co_await find_static(request.context, request.waiter, request.app.rooster.directory,
                                   std::move(*path));
  if (!file) co_return file.error();
  if (!*file) co_return false;
  StaticResponse response(request, std::move(*file), facts);
  co_return co_await response.run();
}

}  // namespace rooster::proxy
