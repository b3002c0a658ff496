// rooster-exec/1: what passes between `rooster ssh console` and the node after the upgrade's 101.
// A frame is u8 kind, u32 length (big-endian), payload. Pure; both ends use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rooster::net {

inline constexpr std::string_view kExecProtocol = "rooster-exec/1";
inline constexpr std::size_t kMaxExecFrameBytes = 64 * 1024;
inline constexpr std::size_t kExecHeadBytes = 5;

enum class ExecKind : std::uint8_t {
  Stdin = 1,
  StdinEof = 2,
  Stdout = 3,
  Stderr = 4,
  Resize = 5,  ///< u16 rows, u16 columns
  Signal = 6,  ///< u8 number
  Exit = 7,    ///< u32 status: the command's, or 128 + the signal that ended it
  Error = 8,   ///< a sentence: the command could not be run, or was cut off
  Ping = 9,    ///< the client's, each 15 s; the node answers with one
  Notice = 10  ///< a line for a person, before the command's first byte
};

struct ExecFrame {
  ExecKind kind = ExecKind::Ping;
  std::string payload;

  friend bool operator==(const ExecFrame&, const ExecFrame&) = default;
};

/// `payload` longer than kMaxExecFrameBytes goes out as several frames.
std::string encode_exec(ExecKind kind, std::string_view payload = {});
std::string encode_exec_resize(std::uint16_t rows, std::uint16_t columns);
std::string encode_exec_signal(std::uint8_t number);
std::string encode_exec_exit(std::uint32_t status);

struct ExecSize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  friend bool operator==(const ExecSize&, const ExecSize&) = default;
};
/// nullopt: the frame isn't of that kind, or its payload has another length.
std::optional<ExecSize> exec_resize_of(const ExecFrame& frame);
std::optional<std::uint8_t> exec_signal_of(const ExecFrame& frame);
std::optional<std::uint32_t> exec_exit_of(const ExecFrame& frame);

/// Cuts a byte stream into frames.
class ExecFrameReader {
 public:
  void put(std::string_view bytes) { input_ += bytes; }
  /// The next whole frame; nullopt: more bytes are needed, or is_broken().
  std::optional<ExecFrame> next();
  /// An unknown kind or a length beyond the bound came: nothing more can be read.
  bool is_broken() const { return is_broken_; }

 private:
  std::string input_;
  std::size_t begin_ = 0;
  bool is_broken_ = false;
};

}  // namespace rooster::net
