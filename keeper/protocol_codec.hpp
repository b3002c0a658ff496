// The bytes of protocol.hpp's fields: numbers are little-endian, a string is its length and its
// bytes. One list of fields per message serves both directions: fields(archive, message).
#pragma once

#include "keeper/protocol.hpp"

#include <array>
#include <type_traits>

namespace rooster::keeper {

class Writer {
 public:
  explicit Writer(Packet& packet) : packet_(packet) {}

  template <class... Fields>
  void operator()(Fields&... fields) {
    (put(fields), ...);
  }

  template <class Number>
    requires std::is_integral_v<Number>
  void put(Number number) {
    auto bits = static_cast<std::uint64_t>(number);
    for (std::size_t i = 0; i < sizeof(Number); ++i, bits >>= 8)
      packet_.bytes.push_back(static_cast<char>(bits & 0xFF));
  }
  void put(SpawnStep step) { put(static_cast<std::uint8_t>(step)); }
  void put(std::chrono::milliseconds time) { put(static_cast<std::int64_t>(time.count())); }
  void put(std::string& text) {
    put(static_cast<std::uint32_t>(text.size()));
    packet_.bytes += text;
  }
  void put(IpAddress& address) {
    for (const std::uint8_t byte : address.bytes()) put(byte);
  }
  template <class T>
  void put(std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  void put(Descriptor& descriptor) {
    put(static_cast<bool>(descriptor));
    if (descriptor) packet_.descriptors.push_back(std::move(descriptor));
  }
  template <class T>
  void put(std::vector<T>& list) {
    put(static_cast<std::uint32_t>(list.size()));
    for (T& one : list) put(one);
  }
  template <class T>
    requires std::is_class_v<T>
  void put(T& message) {
    fields(*this, message);
  }

 private:
  Packet& packet_;
};

// Every get() leaves its target alone once something was wrong.
class Reader {
 public:
  explicit Reader(Packet& packet) : packet_(packet), rest_(packet.bytes) {}

  template <class... Fields>
  void operator()(Fields&... fields) {
    (get(fields), ...);
  }

  bool is_complete() const {
    return ok_ && rest_.empty() && next_descriptor_ == packet_.descriptors.size();
  }

  template <class Number>
    requires std::is_integral_v<Number>
  void get(Number& number) {
    if (rest_.size() < sizeof(Number)) return refuse();
    std::uint64_t bits = 0;
    for (std::size_t i = sizeof(Number); i-- > 0;)
      bits = bits << 8 | static_cast<unsigned char>(rest_[i]);
    rest_.remove_prefix(sizeof(Number));
    if constexpr (std::is_same_v<Number, bool>) {
      if (bits > 1) return refuse();
    }
    number = static_cast<Number>(bits);
  }
  void get(SpawnStep& step) {
    std::uint8_t number = 0;
    get(number);
    if (number > static_cast<std::uint8_t>(SpawnStep::Exec)) return refuse();
    step = static_cast<SpawnStep>(number);
  }
  void get(std::chrono::milliseconds& time) {
    std::int64_t count = 0;
    get(count);
    // A bound of a day keeps every later sum of times in range.
    if (count < 0 || count > 86'400'000) return refuse();
    time = std::chrono::milliseconds(count);
  }
  void get(std::string& text) {
    std::uint32_t size = 0;
    get(size);
    if (!ok_ || size > rest_.size()) return refuse();
    text.assign(rest_.substr(0, size));
    rest_.remove_prefix(size);
  }
  void get(IpAddress& address) {
    std::array<std::uint8_t, 16> bytes{};
    for (std::uint8_t& byte : bytes) get(byte);
    address = IpAddress::from_bytes(bytes);
  }
  template <class T>
  void get(std::optional<T>& value) {
    bool has = false;
    get(has);
    if (ok_ && has) get(value.emplace());
  }
  void get(Descriptor& descriptor) {
    bool has = false;
    get(has);
    if (!ok_ || !has) return;
    if (next_descriptor_ == packet_.descriptors.size()) return refuse();
    descriptor = std::move(packet_.descriptors[next_descriptor_++]);
  }
  template <class T>
  void get(std::vector<T>& list) {
    std::uint32_t size = 0;
    get(size);
    // Each element takes at least one byte: a lying count can't make us allocate.
    if (!ok_ || size > kMaxStrings || size > rest_.size()) return refuse();
    list.resize(size);
    for (T& one : list) {
      if (!ok_) return;
      get(one);
    }
  }
  template <class T>
    requires std::is_class_v<T>
  void get(T& message) {
    fields(*this, message);
  }

 private:
  void refuse() {
    ok_ = false;
    rest_ = {};
  }

  Packet& packet_;
  std::string_view rest_;
  std::size_t next_descriptor_ = 0;
  bool ok_ = true;
};

}  // namespace rooster::keeper
