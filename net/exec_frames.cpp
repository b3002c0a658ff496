#include "net/exec_frames.hpp"

#include <algorithm>

namespace rooster::net {
namespace {

constexpr auto kLastKind = static_cast<std::uint8_t>(ExecKind::Notice);

void append_u16(std::string& out, std::uint16_t number) {
  out += static_cast<char>(number >> 8U);
  out += static_cast<char>(number & 0xFFU);
}

void append_u32(std::string& out, std::uint32_t number) {
  append_u16(out, static_cast<std::uint16_t>(number >> 16U));
  append_u16(out, static_cast<std::uint16_t>(number & 0xFFFFU));
}

std::uint32_t number_at(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < size; ++i) {
    number = number << 8U | static_cast<unsigned char>(bytes[at + i]);
  }
  return number;
}

}  // namespace

std::string encode_exec(ExecKind kind, std::string_view payload) {
  std::string out;
  do {
    const std::string_view piece = payload.substr(0, kMaxExecFrameBytes);
    payload.remove_prefix(piece.size());
    out += static_cast<char>(kind);
    append_u32(out, static_cast<std::uint32_t>(piece.size()));
    out += piece;
  } while (!payload.empty());
  return out;
}

std::string encode_exec_resize(std::uint16_t rows, std::uint16_t columns) {
  std::string payload;
  append_u16(payload, rows);
  append_u16(payload, columns);
  return encode_exec(ExecKind::Resize, payload);
}

std::string encode_exec_signal(std::uint8_t number) {
  return encode_exec(ExecKind::Signal, std::string(1, static_cast<char>(number)));
}

std::string encode_exec_exit(std::uint32_t status) {
  std::string payload;
  append_u32(payload, status);
  return encode_exec(ExecKind::Exit, payload);
}

std::optional<ExecSize> exec_resize_of(const ExecFrame& frame) {
  if (frame.kind != ExecKind::Resize || frame.payload.size() != 4) return std::nullopt;
  return ExecSize{static_cast<std::uint16_t>(number_at(frame.payload, 0, 2)),
                  static_cast<std::uint16_t>(number_at(frame.payload, 2, 2))};
}

std::optional<std::uint8_t> exec_signal_of(const ExecFrame& frame) {
  if (frame.kind != ExecKind::Signal || frame.payload.size() != 1) return std::nullopt;
  return static_cast<std::uint8_t>(frame.payload.front());
}

std::optional<std::uint32_t> exec_exit_of(const ExecFrame& frame) {
  if (frame.kind != ExecKind::Exit || frame.payload.size() != 4) return std::nullopt;
  return number_at(frame.payload, 0, 4);
}

std::optional<ExecFrame> ExecFrameReader::next() {
  const std::string_view rest = std::string_view(input_).substr(begin_);
  if (is_broken_ || rest.size() < kExecHeadBytes) return std::nullopt;
  const auto kind = static_cast<std::uint8_t>(rest[0]);
  const std::uint32_t size = number_at(rest, 1, 4);
  if (kind == 0 || kind > kLastKind || size > kMaxExecFrameBytes) {
    is_broken_ = true;
    return std::nullopt;
  }
  if (rest.size() < kExecHeadBytes + size) return std::nullopt;
  ExecFrame frame{static_cast<ExecKind>(kind), std::string(rest.substr(kExecHeadBytes, size))};
  begin_ += kExecHeadBytes + size;
  // What was read is cut off once it is the greater part: each byte moves once.
  if (begin_ * 2 >= input_.size()) {
    input_.erase(0, begin_);
    begin_ = 0;
  }
  return frame;
}

}  // namespace rooster::net
