#include "tls/ticket_keys.hpp"

#include "tests/tls/pair.hpp"

#include <gtest/gtest.h>

namespace rooster::tls {
namespace {

using testing::Folder;
using testing::make_pem;
using testing::new_context;
using testing::new_tickets;
using testing::shake;
using testing::today;

TicketKeys::Random filled(unsigned char with) {
  TicketKeys::Random bytes;
  bytes.fill(with);
  return bytes;
}

TEST(TicketKeys, KeepsThreeAndSealsWithTheNewest) {
  auto keys = TicketKeys::fresh(today(), filled(1));
  const auto first = keys.newest();
  for (unsigned char i = 2; i <= 3; ++i) keys = keys.rotate(today(), filled(i));
  EXPECT_EQ(keys.size(), 3u);
  EXPECT_NE(keys.find(first.name), nullptr);
  EXPECT_EQ(keys.newest().name[0], 3);
  keys = keys.rotate(today(), filled(4));
  EXPECT_EQ(keys.size(), 3u);
  EXPECT_EQ(keys.find(first.name), nullptr);
}

TEST(TicketKeys, AreDueEachEightHours) {
  const auto keys = TicketKeys::fresh(today(), filled(1));
  const auto later = keys.rotate_at();
  EXPECT_EQ(keys.rotate(later, filled(2)).rotate_at(), later + std::chrono::hours(8));
}

TEST(TicketKeys, SurviveAsBytes) {
  const auto now = std::chrono::system_clock::from_time_t(1'800'000'000);
  const auto keys = TicketKeys::fresh(now, TicketKeys::random()).rotate(now, TicketKeys::random());
  const auto decoded = TicketKeys::decode(keys.encode());
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, keys);
  const std::string bytes = keys.encode();
  EXPECT_FALSE(TicketKeys::decode(bytes.substr(1)));
  EXPECT_FALSE(TicketKeys::decode(bytes.substr(0, bytes.size() - 1)));
  EXPECT_FALSE(TicketKeys::decode(bytes.substr(0, 24)));
  EXPECT_FALSE(TicketKeys::decode(""));
}

class Tickets : public ::testing::TestWithParam<int> {
 protected:
  Tickets() {
    const auto pem = make_pem({"*.app.dev"});
    folder_.write("a.pem", pem.certificate);
    folder_.write("a.key", pem.key);
    store_ = CertificateStore::build(testing::inputs_of(folder_, {"a"}), nullptr, today()).store;
  }
  testing::ClientOptions client(const char* sni, SSL_SESSION* session = nullptr) const {
    return {.sni = sni, .version = GetParam(), .session = session};
  }
  Folder folder_;
  std::shared_ptr<const CertificateStore> store_;
};

TEST_P(Tickets, ResumeOnAnotherContextWithTheSameKeys) {
  const auto keys = new_tickets();
  const auto here = new_context(store_, {}, keys);
  const auto there = new_context(store_, {}, keys);
  const auto first = shake(*here, client("a.app.dev"));
  ASSERT_TRUE(first.session);
  EXPECT_FALSE(first.server->resumed);
  const auto second = shake(*there, client("a.app.dev", first.session.get()));
  ASSERT_TRUE(second.server) << second.server.error().detail;
  EXPECT_TRUE(second.server->resumed);
  EXPECT_TRUE(second.server->covers("b.app.dev"));
}

TEST_P(Tickets, AreRenewedWhereClientsUseThemOnce) {
  const auto context = new_context(store_);
  const auto first = shake(*context, client("a.app.dev"));
  const auto second = shake(*context, client("a.app.dev", first.session.get()));
  EXPECT_EQ(second.session != nullptr, GetParam() == TLS1_3_VERSION);
}

TEST_P(Tickets, OpenAfterARotationButNotAfterThree) {
  auto keys = new_tickets();
  const auto context = new_context(store_, {}, keys);
  const auto first = shake(*context, client("a.app.dev"));
  for (int rotation = 1; rotation <= 3; ++rotation) {
    keys = std::make_shared<const TicketKeys>(keys->rotate(today(), TicketKeys::random()));
    context->adopt(keys);
    const auto again = shake(*context, client("a.app.dev", first.session.get()));
    ASSERT_TRUE(again.server);
    EXPECT_EQ(again.server->resumed, rotation < 3) << rotation;
    EXPECT_TRUE(again.session) << "a new ticket under the new key";
  }
}

TEST_P(Tickets, AreOfNoUseForAnotherName) {
  const auto context = new_context(store_);
  const auto first = shake(*context, client("a.app.dev"));
  const auto other = shake(*context, client("b.app.dev", first.session.get()));
  ASSERT_TRUE(other.server) << other.server.error().detail;
  EXPECT_FALSE(other.server->resumed);
}

TEST_P(Tickets, AreOfNoUseUnderAnotherProfile) {
  const auto keys = new_tickets();
  const auto here = new_context(store_, {}, keys);
  const auto there = new_context(store_, {.alpn = {"h2"}}, keys);
  const auto first = shake(*here, client("a.app.dev"));
  const auto other = shake(*there, client("a.app.dev", first.session.get()));
  ASSERT_TRUE(other.server) << other.server.error().detail;
  EXPECT_FALSE(other.server->resumed);
}

INSTANTIATE_TEST_SUITE_P(Versions, Tickets, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) {
                           return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13";
                         });

}  // namespace
}  // namespace rooster::tls
