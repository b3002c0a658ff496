#include "proxy/may_retry.hpp"

#include <gtest/gtest.h>

namespace rooster::proxy {
namespace {

const Error kNothingSent{Fault::UpstreamRefused, Reached::No};
const Error kMaybeSent{Fault::UpstreamReset, Reached::Maybe};
const Error kClientLeft{Fault::ClientLeft, Reached::Maybe};
const Error kHeadTooLarge{Fault::HeadTooLarge, Reached::No};

TEST(MayRetry, FollowsTheTable) {
  using enum BodyState;
  using enum ResponseState;
  struct Row {
    const Error& error;
    Method method;
    BodyState body;
    ResponseState response;
    Attempts attempts;
    bool expected;
  };
  const Row table[] = {
      {kNothingSent, Method::Get, Unread, Nothing, {1, false}, true},
      {kNothingSent, Method::Post, Unread, Nothing, {1, false}, true},
      {kNothingSent, Method::Post, Replayable, Nothing, {2, false}, true},
      {kNothingSent, Method::Post, Gone, Nothing, {1, false}, false},
      {kNothingSent, Method::Get, Unread, Nothing, {3, false}, false},
      {kNothingSent, Method::Get, Unread, Nothing, {1, true}, false},
      {kNothingSent, Method::Get, Unread, Begun, {1, false}, false},
      {kMaybeSent, Method::Get, Unread, Nothing, {1, false}, true},
      {kMaybeSent, Method::Head, Unread, Nothing, {1, false}, true},
      {kMaybeSent, Method::Options, Unread, Nothing, {1, false}, true},
      {kMaybeSent, Method::Put, Replayable, Nothing, {2, false}, true},
      {kMaybeSent, Method::Delete, Unread, Nothing, {1, false}, true},
      {kMaybeSent, Method::Put, Gone, Nothing, {1, false}, false},
      {kMaybeSent, Method::Post, Unread, Nothing, {1, false}, false},
      {kMaybeSent, Method::Patch, Unread, Nothing, {1, false}, false},
      {kMaybeSent, Method::Other, Unread, Nothing, {1, false}, false},
      {kMaybeSent, Method::Get, Unread, Begun, {1, false}, false},
      {kClientLeft, Method::Get, Unread, Nothing, {1, false}, false},
      {kHeadTooLarge, Method::Get, Unread, Nothing, {1, false}, false},
  };
  for (const Row& row : table) {
    EXPECT_EQ(may_retry(row.error, row.method, row.body, row.response, row.attempts), row.expected)
        << &row - table;
  }
}

}  // namespace
}  // namespace rooster::proxy
