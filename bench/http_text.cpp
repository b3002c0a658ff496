#include "bench/http_text.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace rooster::bench {
namespace {

constexpr std::size_t kMaxHead = 64 * 1024;
constexpr std::size_t kKeptBody = 256;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

template <class T>
bool parse_number(std::string_view text, T& out, int base) {
  const auto end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, out, base);
  return result.ec == std::errc{} && result.ptr != text.data();
}

}  // namespace

std::string_view field_value(std::string_view head, std::string_view name) {
  std::size_t at = head.find("\r\n");
  while (at != head.npos && at + 2 < head.size()) {
    const std::size_t start = at + 2;
    at = head.find("\r\n", start);
    const auto line = head.substr(start, at == head.npos ? head.npos : at - start);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    const bool same = std::equal(name.begin(), name.end(), line.begin(),
                                 [](char a, char b) { return a == lower(b); });
    if (!same) continue;
    auto value = line.substr(name.size() + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    return value;
  }
  return {};
}

std::string websocket_accept(std::string_view key) {
  const std::string joined = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, 20> digest{};
  EVP_Digest(joined.data(), joined.size(), digest.data(), nullptr, EVP_sha1(), nullptr);
  std::array<unsigned char, 32> text{};
  const int length = EVP_EncodeBlock(text.data(), digest.data(), 20);
  return {text.begin(), text.begin() + length};
}

void ResponseReader::begin() {
  part_ = Part::Head;
  head_.clear();
  line_.clear();
  body_start_.clear();
  status_ = 0;
  left_ = body_bytes_ = 0;
}

ResponseReader::Progress ResponseReader::take(std::string_view bytes, std::size_t& used) {
  used = 0;
  while (used < bytes.size()) {
    Progress progress = Progress::More;
    if (part_ == Part::Head) {
      const std::size_t before = head_.size();
      head_.append(bytes.substr(used));
      const auto end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
      if (end == head_.npos) {
        used = bytes.size();
        return head_.size() > kMaxHead ? Progress::Bad : Progress::More;
      }
      used += end + 4 - before;
      head_.resize(end + 4);
      progress = after_head();
    } else if (part_ == Part::Counted || part_ == Part::ChunkBody) {
      const auto piece = bytes.substr(used, left_);
      keep(piece);
      used += piece.size();
      left_ -= piece.size();
      if (left_ == 0 && part_ == Part::Counted) return Progress::Done;
      if (left_ == 0) part_ = Part::ChunkEnd;
    } else {
      progress = take_line(bytes[used++]);
    }
    if (progress != Progress::More) return progress;
  }
  return Progress::More;
}

ResponseReader::Progress ResponseReader::after_head() {
  if (head_.size() < 12 || !head_.starts_with("HTTP/1.")) return Progress::Bad;
  if (!parse_number(std::string_view(head_).substr(9, 3), status_, 10)) return Progress::Bad;
  if (status_ == 101 || status_ == 204 || status_ == 304) return Progress::Done;
  if (status_ < 200) {
    begin();
    return Progress::More;
  }
  if (field_value(head_, "transfer-encoding") == "chunked") {
    part_ = Part::ChunkSize;
    return Progress::More;
  }
  if (!parse_number(field_value(head_, "content-length"), left_, 10)) return Progress::Bad;
  part_ = Part::Counted;
  return left_ == 0 ? Progress::Done : Progress::More;
}

ResponseReader::Progress ResponseReader::take_line(char byte) {
  line_.push_back(byte);
  if (line_.size() > kMaxHead) return Progress::Bad;
  if (byte != '\n') return Progress::More;
  const std::string line = std::exchange(line_, {});
  if (part_ == Part::ChunkEnd) {
    part_ = Part::ChunkSize;
  } else if (part_ == Part::ChunkSize) {
    if (!parse_number(line, left_, 16)) return Progress::Bad;
    part_ = left_ == 0 ? Part::Trailers : Part::ChunkBody;
  } else if (line == "\r\n") {
    return Progress::Done;
  }
  return Progress::More;
}

void ResponseReader::keep(std::string_view body) {
  body_bytes_ += body.size();
  if (body_start_.size() < kKeptBody)
    body_start_.append(body.substr(0, kKeptBody - body_start_.size()));
}

}  // namespace rooster::bench
