#include "proxy/relay.hpp"

#include <gtest/gtest.h>

namespace rooster::proxy {
namespace {

TEST(ReadSize, GrowsWhileTheOtherSideTakesAllAndShrinksAtOnce) {
  ReadSize size;
  EXPECT_EQ(size.bytes(), limits::kRelayBytes);
  size.took(limits::kRelayBytes, true);
  EXPECT_EQ(size.bytes(), 2 * limits::kRelayBytes);
  size.took(2 * limits::kRelayBytes, true);
  size.took(4 * limits::kRelayBytes, true);
  EXPECT_EQ(size.bytes(), limits::kMaxRelayBytes);
  size.took(limits::kMaxRelayBytes, false);
  EXPECT_EQ(size.bytes(), limits::kRelayBytes);
}

TEST(ReadSize, SmallPiecesDoNotMakeItGrow) {
  ReadSize size;
  for (int piece = 0; piece < 10; ++piece) size.took(1000, true);
  EXPECT_EQ(size.bytes(), limits::kRelayBytes);
}

}  // namespace
}  // namespace rooster::proxy
