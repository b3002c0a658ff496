#include "proxy/websocket_frames.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rooster::proxy {
namespace {

std::string frame(unsigned char first, std::size_t length, bool masked) {
  std::string bytes(1, static_cast<char>(first));
  const unsigned mask = masked ? 0x80 : 0;
  const auto put = [&](unsigned value) { bytes.push_back(static_cast<char>(value)); };
  if (length < 126) {
    put(mask | static_cast<unsigned>(length));
  } else if (length < 65536) {
    put(mask | 126);
    for (int shift = 8; shift >= 0; shift -= 8) put(static_cast<unsigned>(length >> shift) & 0xFF);
  } else {
    put(mask | 127);
    for (int shift = 56; shift >= 0; shift -= 8) put(static_cast<unsigned>(length >> shift) & 0xFF);
  }
  if (masked) bytes += "mask";
  return bytes + std::string(length, '\x88');
}

TEST(WebSocketFrames, KnowsTheBoundariesHoweverTheBytesCome) {
  std::string bytes;
  std::vector<std::size_t> ends;
  for (const std::size_t length : {0U, 1U, 125U, 126U, 65535U, 65536U}) {
    for (const bool masked : {false, true}) {
      bytes += frame(0x82, length, masked);
      ends.push_back(bytes.size());
    }
  }
  for (const std::size_t piece : {1U, 2U, 13U, 1000U, 1000000U}) {
    WebSocketFrames frames;
    std::size_t next_end = 0;
    for (std::size_t at = 0; at < bytes.size();) {
      const auto part = std::string_view(bytes).substr(at, piece);
      frames.feed(part);
      at += part.size();
      while (next_end < ends.size() && ends[next_end] < at) ++next_end;
      EXPECT_EQ(frames.at_boundary(), ends[next_end] == at) << piece << " at " << at;
    }
    EXPECT_FALSE(frames.has_close());
  }
}

TEST(WebSocketFrames, StopsAtTheFirstBoundary) {
  const std::string first = frame(0x01, 300, true);
  const std::string second = frame(0x89, 2, false);
  WebSocketFrames frames;
  EXPECT_EQ(frames.feed_to_boundary(first), 0U) << "stands on one before any byte";
  frames.feed(first.substr(0, 3));
  EXPECT_EQ(frames.feed_to_boundary(first.substr(3, 10)), std::nullopt);
  const std::string rest = first.substr(13) + second;
  EXPECT_EQ(frames.feed_to_boundary(rest), first.size() - 13);
  EXPECT_TRUE(frames.at_boundary());
  frames.feed(second);
  EXPECT_TRUE(frames.at_boundary());
}

TEST(WebSocketFrames, SeesACloseBetweenFragments) {
  WebSocketFrames frames;
  frames.feed(frame(0x01, 3, false));
  EXPECT_FALSE(frames.has_close());
  frames.feed(std::string(reinterpret_cast<const char*>(kGoAwayFrame.data()), 1));
  EXPECT_FALSE(frames.at_boundary());
  frames.feed(std::string(reinterpret_cast<const char*>(kGoAwayFrame.data()) + 1, 3));
  EXPECT_TRUE(frames.has_close());
  EXPECT_TRUE(frames.at_boundary());
}

TEST(WebSocketFrames, MasksTheCloseForTheApp) {
  const auto bytes = masked_go_away_frame({1, 2, 3, 4});
  EXPECT_EQ(bytes[0], 0x88);
  EXPECT_EQ(bytes[1], 0x82);
  EXPECT_EQ(bytes[6] ^ 1, 0x03);
  EXPECT_EQ(bytes[7] ^ 2, 0xE9);
}

}  // namespace
}  // namespace rooster::proxy
