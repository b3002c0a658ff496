#include "tunnel/websocket_frames.hpp"

#include "tunnel/checksum.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace rooster::tunnel {
namespace {

constexpr std::uint8_t kFinal = 0x80;
constexpr std::uint8_t kReserved = 0x70;
constexpr std::uint8_t kMasked = 0x80;
constexpr std::size_t kMaxControlBytes = 125;  // RFC 6455 §5.5
constexpr std::uint64_t kMaxFrameBytes = 16 * 1024 * 1024;

std::string base64(std::span<const std::uint8_t> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<std::uint8_t*>(text.data()), bytes.data(),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

void apply_mask(std::span<std::uint8_t> bytes, const std::array<std::uint8_t, 4>& mask,
                std::size_t at) {
  std::uint8_t turned[8];
  for (std::size_t i = 0; i < sizeof turned; ++i) turned[i] = mask[(at + i) % 4];
  std::uint64_t word;
  std::memcpy(&word, turned, sizeof word);
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, &bytes[i], sizeof eight);
    eight ^= word;
    std::memcpy(&bytes[i], &eight, sizeof eight);
  }
  for (; i < bytes.size(); ++i) bytes[i] ^= mask[(at + i) % 4];
}

}  // namespace

std::string websocket_accept(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha1(), nullptr);
  return base64(std::span(digest).first(length));
}

std::string websocket_key(RandomSource& random) {
  std::array<std::uint8_t, 16> bytes{};
  random.fill(bytes);
  return base64(bytes);
}

void append_websocket_frame(std::string& out, WebsocketOpcode opcode,
                            std::span<const std::uint8_t> payload, WebsocketRole role,
                            RandomSource& random) {
  const std::uint8_t masked = role == WebsocketRole::Client ? kMasked : 0;
  std::array<std::uint8_t, 14> head{};
  std::size_t size = 2;
  head[0] = static_cast<std::uint8_t>(kFinal | static_cast<std::uint8_t>(opcode));
  if (payload.size() < 126) {
    head[1] = static_cast<std::uint8_t>(masked | payload.size());
  } else if (payload.size() <= 0xffff) {
    head[1] = masked | 126;
    put_u16(&head[2], payload.size());
    size = 4;
  } else {
    head[1] = masked | 127;
    put_u32(&head[6], static_cast<std::uint32_t>(payload.size()));
    size = 10;
  }
  std::array<std::uint8_t, 4> mask{};
  if (masked != 0) {
    random.fill(mask);
    std::copy(mask.begin(), mask.end(), head.begin() + static_cast<std::ptrdiff_t>(size));
    size += mask.size();
  }
  const std::size_t begin = out.size() + size;
  out.append(reinterpret_cast<const char*>(head.data()), size);
  out.append(reinterpret_cast<const char*>(payload.data()), payload.size());
  if (masked == 0) return;
  apply_mask({reinterpret_cast<std::uint8_t*>(out.data()) + begin, payload.size()}, mask, 0);
}

// ---- WebsocketReader

// Reads the head, which is complete.
Result<> WebsocketReader::begin_frame() {
  const bool is_masked = (head_[1] & kMasked) != 0;
  const std::uint8_t opcode = head_[0] & 0x0f;
  if ((head_[0] & kReserved) != 0) return fail(Fault::BadFraming, "reserved bits of a frame");
  if ((opcode > 2 && opcode < 8) || opcode > 10) return fail(Fault::BadFraming, "frame's opcode");
  if (is_masked != (role_ == WebsocketRole::Server)) {
    return fail(Fault::BadFraming, is_masked ? "a server's frame is masked" : "frame not masked");
  }
  opcode_ = static_cast<WebsocketOpcode>(opcode);
  std::size_t at = 2;
  remaining_ = head_[1] & 0x7fu;
  if (remaining_ == 126) {
    remaining_ = get_u16(&head_[2]);
    at = 4;
  } else if (remaining_ == 127) {
    remaining_ = (std::uint64_t{get_u32(&head_[2])} << 32) | get_u32(&head_[6]);
    at = 10;
  }
  if (remaining_ > (opcode >= 8 ? kMaxControlBytes : kMaxFrameBytes)) {
    return fail(Fault::BadFraming, "frame too large");
  }
  if (is_masked) std::memcpy(mask_.data(), &head_[at], mask_.size());
  mask_at_ = 0;
  head_bytes_ = 0;
  in_frame_ = true;
  return {};
}

Result<bool> WebsocketReader::next(std::span<std::uint8_t>& bytes, Piece& piece) {
  while (!in_frame_) {
    if (bytes.empty()) return false;
    head_[head_bytes_++] = bytes.front();
    bytes = bytes.subspan(1);
    if (head_bytes_ < 2) continue;
    const std::uint8_t length = head_[1] & 0x7f;
    const std::size_t wanted = 2u +
                               (length == 126   ? 2u
                                : length == 127 ? 8u
                                                : 0u) +
                               ((head_[1] & kMasked) != 0 ? 4u : 0u);
    if (head_bytes_ < wanted) continue;
    if (auto begun = begin_frame(); !begun) return fail(begun.error());
  }
  const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size()));
  if (here == 0 && remaining_ != 0) return false;
  piece.opcode = opcode_;
  piece.payload = bytes.first(here);
  if (role_ == WebsocketRole::Server) apply_mask(piece.payload, mask_, mask_at_);
  mask_at_ = (mask_at_ + here) % 4;
  bytes = bytes.subspan(here);
  remaining_ -= here;
  piece.ends_frame = remaining_ == 0;
  in_frame_ = remaining_ != 0;
  return true;
}

// ---- DatagramReader

// Gathers `wanted` bytes in held_. True once they are there.
bool DatagramReader::gather(std::span<std::uint8_t>& bytes, std::size_t wanted) {
  const std::size_t missing = std::min(wanted - held_.size(), bytes.size());
  held_.insert(held_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(missing));
  bytes = bytes.subspan(missing);
  return held_.size() == wanted;
}

Result<std::span<std::uint8_t>> DatagramReader::next(std::span<std::uint8_t>& bytes) {
  if (has_length_ && held_.size() == length_) {  // given by the call before
    has_length_ = false;
    held_.clear();
  }
  for (;;) {
    if (!has_length_) {
      if (!gather(bytes, 4)) return std::span<std::uint8_t>();
      const std::uint32_t number = get_u32(held_.data());
      if (std::exchange(expects_magic_, false)) {
        if (!std::equal(held_.begin(), held_.end(), kMagic.begin())) {
          return fail(Fault::BadFraming, "not a WireGuard transport");
        }
        held_.clear();
        continue;
      }
      held_.clear();
      if (number == 0) continue;
      if (number > kMaxDatagramBytes) return fail(Fault::BadFraming, "datagram too large");
      length_ = number;
      has_length_ = true;
    }
    if (held_.empty() && bytes.size() >= length_) {
      has_length_ = false;
      const auto datagram = bytes.first(length_);
      bytes = bytes.subspan(length_);
      return datagram;
    }
    if (!gather(bytes, length_)) return std::span<std::uint8_t>();
    return std::span(held_);
  }
}

void append_datagram(std::vector<std::uint8_t>& out, std::span<const std::uint8_t> datagram) {
  const std::size_t begin = out.size();
  out.resize(begin + 4 + datagram.size());
  put_u32(&out[begin], static_cast<std::uint32_t>(datagram.size()));
  std::copy(datagram.begin(), datagram.end(), out.begin() + static_cast<std::ptrdiff_t>(begin) + 4);
}

}  // namespace rooster::tunnel
