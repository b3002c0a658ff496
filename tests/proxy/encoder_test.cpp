#include "proxy/encoder.hpp"

#include "tests/proxy/decode.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

using testing::decode;

constexpr Coding kCodings[] = {Coding::Gzip, Coding::Brotli, Coding::Zstd};

std::string text_of(std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; text.size() < bytes; ++i) {
    text += "{\"id\": " + std::to_string(i * 7919) + ", \"name\": \"somebody\"}\n";
  }
  text.resize(bytes);
  return text;
}

// Bytes nobody can compress.
std::string noise_of(std::size_t bytes) {
  std::string text(bytes, '\0');
  std::uint64_t state = 88172645463325252u;
  for (char& c : text) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    c = static_cast<char>(state);
  }
  return text;
}

std::string encode(Encoder& encoder, std::string_view input, Encoder::Then then,
                   std::size_t room = 64 * 1024) {
  std::string coded;
  std::vector<char> out(room);
  while (true) {
    const Encoder::Step step = encoder.step(input, then, out);
    EXPECT_FALSE(step.failed);
    coded.append(out.data(), step.produced);
    if (!step.more) break;
  }
  EXPECT_TRUE(input.empty());
  return coded;
}

TEST(Encoder, GivesBackWhatItTook) {
  EncoderStock stock;
  for (const Coding coding : kCodings) {
    for (const std::size_t bytes : {0u, 1u, 600u, 70'000u, 400'000u}) {
      for (const bool is_known : {false, true}) {
        for (const std::string& text : {text_of(bytes), noise_of(bytes)}) {
          auto encoder =
              stock.take(coding, is_known ? std::optional<std::uint64_t>(bytes) : std::nullopt);
          ASSERT_TRUE(encoder);
          std::string coded;
          for (std::size_t at = 0; at < bytes; at += 30'000) {
            coded += encode(*encoder, std::string_view(text).substr(at, 30'000),
                            Encoder::Then::More, at % 4 == 0 ? 100 : 64 * 1024);
          }
          coded += encode(*encoder, {}, Encoder::Then::End, 50);
          const auto decoded = decode(coding, coded);
          EXPECT_TRUE(decoded.whole);
          EXPECT_TRUE(decoded.text == text) << coding_name(coding) << " " << bytes;
          stock.give(std::move(encoder));
        }
      }
    }
  }
  EXPECT_EQ(stock.in_use(), 0u);
}

TEST(Encoder, AFlushMakesAllOfItReadable) {
  EncoderStock stock;
  for (const Coding coding : kCodings) {
    auto encoder = stock.take(coding, std::nullopt);
    ASSERT_TRUE(encoder);
    std::string coded;
    std::string all;
    for (const std::string& part : {text_of(1), text_of(300), noise_of(100'000), text_of(20)}) {
      all += part;
      coded += encode(*encoder, part, Encoder::Then::More);
      coded += encode(*encoder, {}, Encoder::Then::Flush, 16);
      EXPECT_TRUE(decode(coding, coded).text == all)
          << coding_name(coding) << " " << decode(coding, coded).text.size() << " of "
          << all.size();
    }
    coded += encode(*encoder, {}, Encoder::Then::End);
    EXPECT_TRUE(decode(coding, coded).whole);
    stock.give(std::move(encoder));
  }
}

TEST(EncoderStock, HasNoMoreThanItsBound) {
  EncoderStock stock;
  std::vector<std::unique_ptr<Encoder>> taken;
  for (std::size_t i = 0; i < limits::kEncoders; ++i) {
    taken.push_back(stock.take(kCodings[i % 3], std::nullopt));
    ASSERT_TRUE(taken.back());
  }
  EXPECT_FALSE(stock.take(Coding::Gzip, std::nullopt));
  stock.give(std::move(taken.back()));
  taken.pop_back();
  taken.push_back(stock.take(Coding::Gzip, std::nullopt));
  EXPECT_TRUE(taken.back());
  for (auto& encoder : taken) stock.give(std::move(encoder));
}

}  // namespace
}  // namespace rooster::proxy
