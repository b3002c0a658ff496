#include "proxy/compression.hpp"

#include "proxy/head_line.hpp"

#include <algorithm>

namespace rooster::proxy {
namespace {

// Content-Encoding and Vary.
constexpr std::size_t kFieldsAdded = 2;

void add_field(ResponseHead& head, std::string_view name, std::string_view value, FieldKind kind) {
  head.field_storage[head.field_count++] = {name, value, kind};
}

// Caches must not give one client what another one understands (RFC 9110 §12.5.5).
void add_vary(ResponseHead& head) {
  for (const Field& field : head.fields()) {
    if (!equals_lower(field.name, "vary")) continue;
    TokenList names(field.value);
    for (auto name = names.next(); !name.empty(); name = names.next()) {
      if (name == "*" || equals_lower(name, "accept-encoding")) return;
    }
  }
  add_field(head, "Vary", "Accept-Encoding", FieldKind::Other);
}

}  // namespace

std::unique_ptr<Compression> Compression::begin(EncoderStock& stock, const RequestHead& request,
                                                ResponseHead& head,
                                                std::span<const config::HeaderRule> rules) {
  if (!may_be_compressed(head, rules) || head.field_count + kFieldsAdded > limits::kMaxFields) {
    return nullptr;
  }
  add_vary(head);
  if (!head.body.has_body()) return nullptr;
  if (head.body.kind == BodyKind::Length && head.body.length < limits::kMinCompressedBytes) {
    return nullptr;
  }
  // A client of 1.0 knows no chunks: without a length its connection would have to end.
  if (request.http_minor == 0) return nullptr;
  const Coding coding = choose_coding(request);
  if (coding == Coding::Identity) return nullptr;
  const auto length =
      head.body.kind == BodyKind::Length ? std::optional(head.body.length) : std::nullopt;
  auto encoder = stock.take(coding, length);
  if (!encoder) return nullptr;
  auto compression = std::make_unique<Compression>(stock, std::move(encoder));
  compression->describe_in(head);
  return compression;
}

void Compression::describe_in(ResponseHead& head) {
  const auto fields = head.field_storage.begin();
  // Ranges are of other bytes than the client gets.
  const auto end = std::remove_if(fields, fields + head.field_count, [](const Field& field) {
    return equals_lower(field.name, "accept-ranges");
  });
  head.field_count = static_cast<std::uint16_t>(end - fields);
  add_field(head, "Content-Encoding", coding_name(encoder_->coding()), FieldKind::ContentEncoding);
  head.body = {BodyKind::Chunked, 0};
  head.has_length = false;
  for (Field& field : std::span(head.field_storage).first(head.field_count)) {
    if (!equals_lower(field.name, "etag") || field.value.starts_with("W/")) continue;
    etag_.assign("W/").append(field.value);  // the same content in other bytes (RFC 9110 §8.8.1)
    field.value = etag_;
  }
}

Result<> Compression::encode(ClientSide& client, std::string_view bytes, Encoder::Then then) {
  holds_ = then == Encoder::Then::More && (holds_ || !bytes.empty());
  if (bytes.empty() && then == Encoder::Then::More) return {};
  const std::span<char> out = stock_.out();
  while (true) {
    const Encoder::Step step = encoder_->step(bytes, then, out);
    if (step.failed) return fail(Fault::Internal);
    bytes_out_ += step.produced;
    if (step.produced > 0 && !client.offer_body({out.data(), step.produced})) {
      return fail(Fault::ClientLeft);
    }
    if (!step.more) return {};
  }
}

}  // namespace rooster::proxy
