#include "net/http1.hpp"

// The only user of Beast: compiled as headers it costs less than the separate library.
#undef BOOST_BEAST_SEPARATE_COMPILATION
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/string_body.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace rooster::net {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr int kMaxInterim = 16;

Fields fields_of(const http::fields& from) {
  Fields fields;
  for (const auto& field : from) {
    fields.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  return fields;
}

Fault fault_of(error_code error, Fault otherwise) {
  if (error == http::error::header_limit) return Fault::HeadTooLarge;
  if (error == http::error::body_limit) return Fault::BodyTooLarge;
  return otherwise;
}

/// Puts until the parser wants more than there is.
template <class Parser>
std::size_t put_all(Parser& parser, std::string_view bytes, error_code& error) {
  std::size_t used = 0;
  while (used < bytes.size() && !parser.is_done()) {
    const auto rest = bytes.substr(used);
    const std::size_t taken =
        parser.put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    used += taken;
    if (error == http::error::need_more) {
      error = {};
      break;
    }
    if (error || taken == 0) break;
  }
  return used;
}

bool has_control_character(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\t'; });
}

void append_fields(std::string& head, const Fields& fields) {
  for (const auto& [name, value] : fields) {
    if (has_control_character(name) || has_control_character(value)) continue;
    head += name;
    head += ": ";
    head += value;
    head += "\r\n";
  }
}

std::string_view reason_of(int status) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(status));
  return {reason.data(), reason.size()};
}

}  // namespace

struct RequestReader::Impl {
  http::request_parser<http::string_body> parser;
};

RequestReader::RequestReader(std::size_t head_bytes, std::size_t body_bytes)
    : impl_(std::make_unique<Impl>()) {
  impl_->parser.eager(true);
  impl_->parser.header_limit(static_cast<std::uint32_t>(head_bytes));
  impl_->parser.body_limit(body_bytes);
}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;

Result<std::size_t> RequestReader::put(std::string_view bytes) {
  error_code error;
  const bool had_head = has_head();
  const std::size_t used = put_all(impl_->parser, bytes, error);
  if (error) return fail(fault_of(error, Fault::BadRequest), error.message());
  if (!had_head && has_head()) {
    const auto& message = impl_->parser.get();
    const auto coding = message[http::field::transfer_encoding];
    // Beast takes other codings for a body without framing.
    if (!coding.empty() && (!boost::beast::iequals(coding, "chunked") || message.version() != 11)) {
      return fail(Fault::BadRequest, "transfer-encoding is not chunked");
    }
    // CONNECT's target is a host and a port, which its handler checks.
    if (!message.target().starts_with('/') && message.method() != http::verb::connect) {
      return fail(Fault::BadRequest, "the target is not a path");
    }
  }
  return used;
}

bool RequestReader::has_head() const {
  return impl_->parser.is_header_done();
}
bool RequestReader::is_done() const {
  return impl_->parser.is_done();
}
bool RequestReader::expects_continue() const {
  return has_head() &&
         boost::beast::iequals(impl_->parser.get()[http::field::expect], "100-continue");
}
bool RequestReader::keeps_alive() const {
  return impl_->parser.get().keep_alive();
}
bool RequestReader::is_http_1_0() const {
  return impl_->parser.get().version() < 11;
}

HttpRequest RequestReader::take() {
  auto message = impl_->parser.release();
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.fields = fields_of(message);
  request.body = std::move(message.body());
  return request;
}

struct ResponseReader::Impl {
  std::optional<http::response_parser<http::string_body>> parser;
  std::size_t head_bytes;
  std::size_t body_bytes;
  bool to_head;
  int interim = 0;
};

ResponseReader::ResponseReader(std::size_t head_bytes, std::size_t body_bytes, bool to_head)
    : impl_(std::make_unique<Impl>()) {
  impl_->head_bytes = head_bytes;
  impl_->body_bytes = body_bytes;
  impl_->to_head = to_head;
  begin();
}
ResponseReader::~ResponseReader() = default;
ResponseReader::ResponseReader(ResponseReader&&) noexcept = default;

void ResponseReader::begin() {
  auto& parser = impl_->parser.emplace();
  parser.eager(true);
  parser.header_limit(static_cast<std::uint32_t>(impl_->head_bytes));
  if (impl_->body_bytes == 0) {
    parser.body_limit(boost::none);
  } else {
    parser.body_limit(impl_->body_bytes);
  }
  parser.skip(impl_->to_head);
}

Result<std::size_t> ResponseReader::put(std::string_view bytes) {
  std::size_t used = 0;
  while (true) {
    error_code error;
    used += put_all(*impl_->parser, bytes.substr(used), error);
    if (error) return fail(Fault::UpstreamBadResponse, error.message());
    const bool interim =
        impl_->parser->is_done() && status() >= 100 && status() < 200 && status() != 101;
    if (!interim) return used;
    if (++impl_->interim > kMaxInterim) {
      return fail(Fault::UpstreamBadResponse, "too many interim responses");
    }
    begin();
  }
}

Result<> ResponseReader::end() {
  if (is_done()) return {};
  if (!has_head()) return fail(Fault::UpstreamReset, "the connection ended before the response");
  error_code error;
  impl_->parser->put_eof(error);
  if (error) return fail(Fault::UpstreamTruncated, error.message());
  return {};
}

bool ResponseReader::has_head() const {
  return impl_->parser->is_header_done();
}
bool ResponseReader::is_done() const {
  return impl_->parser->is_done();
}
bool ResponseReader::keeps_alive() const {
  return impl_->parser->keep_alive();
}
int ResponseReader::status() const {
  return static_cast<int>(impl_->parser->get().result_int());
}

std::string ResponseReader::take_body() {
  return std::exchange(impl_->parser->get().body(), {});
}

HttpResponse ResponseReader::take() {
  HttpResponse response;
  response.status = status();
  response.fields = fields_of(impl_->parser->get());
  response.body = take_body();
  return response;
}

std::string encode_request(const HttpRequest& request, std::string_view host) {
  std::string head =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, host);
  append_fields(head, request.fields);
  const bool has_body = !request.body.empty() || request.method == "POST" ||
                        request.method == "PUT" || request.method == "PATCH";
  if (has_body) head += fmt::format("Content-Length: {}\r\n", request.body.size());
  head += "\r\n";
  head += request.body;
  return head;
}

std::string encode_response_head(int status, const Fields& fields, Framing framing,
                                 std::size_t length, bool keep_alive) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", status, reason_of(status));
  append_fields(head, fields);
  if (framing == Framing::Length) head += fmt::format("Content-Length: {}\r\n", length);
  if (framing == Framing::Chunked) head += "Transfer-Encoding: chunked\r\n";
  if (!keep_alive) head += "Connection: close\r\n";
  head += "\r\n";
  return head;
}

std::string encode_upgrade_head(int status, const Fields& fields) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", status, reason_of(status));
  append_fields(head, fields);
  head += "\r\n";
  return head;
}

std::string encode_chunk(std::string_view text) {
  return fmt::format("{:x}\r\n{}\r\n", text.size(), text);
}

}  // namespace rooster::net
