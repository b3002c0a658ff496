// Tens of thousands of random and mutated queries against the model of what they are answered with.
#include "tests/dns/rcode_model.hpp"
#include "tests/dns/village.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace rooster::dns {
namespace {

using testing::ask_bytes;
using testing::Expected;
using testing::expected_of;
using testing::make_village;

class QueryMaker {
 public:
  explicit QueryMaker(unsigned seed) : random_(seed) {}

  std::string make() {
    if (number(20) == 0) return noise(number(80));
    Question question{.name = name(), .type = type(), .recursion_desired = number(4) != 0};
    question.udp_bytes = one_of<std::uint16_t>({0, 0, 1, 512, 513, 1232, 4096, 65535});
    question.dnssec_ok = number(3) == 0;
    const auto made = make_query(question, static_cast<std::uint16_t>(number(65536)));
    std::string query = made ? *made : noise(40);
    if (made && question.udp_bytes != 0 && number(50) == 0) query[query.size() - 5] = 1;  // version
    const std::size_t mutations = number(3) == 0 ? 1 + number(4) : 0;
    for (std::size_t i = 0; i < mutations; ++i) mutate(query);
    return query;
  }

 private:
  std::size_t number(std::size_t below) { return random_() % below; }
  template <class T>
  T one_of(const std::vector<T>& of) {
    return of[number(of.size())];
  }
  char byte() { return static_cast<char>(number(256)); }
  std::string noise(std::size_t length) {
    std::string bytes;
    for (std::size_t i = 0; i < length; ++i) bytes += byte();
    return bytes;
  }
  std::uint16_t type() {
    if (number(8) == 0) return static_cast<std::uint16_t>(number(300));
    return one_of<std::uint16_t>({1, 2, 6, 12, 16, 28, 28, 28, 65, 255});
  }
  std::string word() {
    return one_of<std::string>(
        {"web",  "db",         "off",     "empty",   "secret",     "m1",
         "m4",   "d1",         "iad",     "gru",     "vm",         "vms",
         "all",  "global",     "regions", "process", "app",        "worker",
         "top2", "top0",       "nearest", "of",      "role",       "primary",
         "kv",   "_metadata",  "_apps",   "_peer",   "laptop",     "interactive-1",
         "_api", "_instances", "x",       "WEB",     "\\000\\255", "a\\.b"});
  }
  std::string name() {
    const std::size_t form = number(10);
    if (form == 0) return one_of<std::string>({".", "example.com", "internal.com", "arpa"});
    if (form == 1) return reverse_name(random_address());
    if (form == 2) return "0.b.8.7.2.0.0.0.a.a.d.f.ip6.arpa";
    std::string text;
    for (std::size_t i = number(6); i > 0; --i) text += word() + ".";
    const std::string whole = one_of<std::string>(
        {"web", "m1.vm.web", "app.process.web", "top3.nearest.of.web", "all.vms.db",
         "primary.role.kv._metadata.web", "laptop._peer", "_apps", "all._instances", "nobody"});
    if (form < 7) text = (form == 3 ? word() + "." : "") + whole + ".";
    return text + one_of<std::string>({"internal", "internal", "INTERNAL", "flycast", "intern"});
  }
  IpAddress random_address() {
    return testing::ip(one_of<std::string>(
        {"fdaa:2:78b0:a7b:1:0:1:2", "fdaa:2:78b0::3", "fdaa::3", "fdaa:0:991::3", "2001:db8::1"}));
  }
  void mutate(std::string& query) {
    if (query.empty()) return;
    const std::size_t at = number(query.size());
    switch (number(7)) {
      case 0:
        query[at] = byte();
        break;
      case 1:
        query[at] = static_cast<char>(query[at] ^ (1 << number(8)));
        break;
      case 2:
        query.resize(at);
        break;
      case 3:
        query += noise(1 + number(20));
        break;
      case 4:
        query.insert(at, noise(1 + number(3)));
        break;
      case 5:  // the header's counts and flags
        query[number(std::min<std::size_t>(12, query.size()))] = static_cast<char>(number(3));
        break;
      default:  // a pointer
        query[at] = static_cast<char>(0xc0 + number(2));
        break;
    }
  }
  std::mt19937 random_;
};

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

void check_reply(const std::string& query, const std::string& reply, const Expected& expected) {
  const auto response = read_response(reply);
  ASSERT_TRUE(response) << hex(query);
  EXPECT_EQ(response->rcode, expected.rcode) << hex(query);
  EXPECT_EQ(reply.substr(0, 2), query.substr(0, 2)) << hex(query);
  if (!response->name.empty()) {
    const std::size_t question = response->name.size() + 4;
    EXPECT_EQ(reply.substr(12, question), query.substr(12, question)) << hex(query);
  }
}

TEST(AnswerModel, FiftyThousandQueriesGetTheCodeTheModelSays) {
  constexpr int kQueries = 50'000;
  const Directory village = make_village();
  QueryMaker maker(20261121);
  std::map<std::string, int> seen;
  for (int i = 0; i < kQueries && !::testing::Test::HasFailure(); ++i) {
    const std::string query = maker.make();
    const Expected expected = expected_of(query);
    for (const Carrier carrier : {Carrier::Datagram, Carrier::Stream}) {
      // An exact copy, so that a read past its end is one past an allocation.
      const std::vector<char> exact(query.begin(), query.end());
      const std::string reply =
          ask_bytes(village, {exact.data(), exact.size()}, {.carrier = carrier});
      if (expected.kind != Expected::Kind::Code) {
        EXPECT_EQ(reply, "") << hex(query);
        continue;
      }
      check_reply(query, reply, expected);
      if (carrier == Carrier::Datagram) EXPECT_LE(reply.size(), expected.most_udp) << hex(query);
    }
    ++seen[expected.kind == Expected::Kind::Code
               ? rcode_to_text(static_cast<std::uint16_t>(expected.rcode))
           : expected.kind == Expected::Kind::Silence ? "silence"
                                                      : "recursion"];
  }
  // Each kind of outcome must have been met often enough to mean something.
  for (const char* kind :
       {"NOERROR", "NXDOMAIN", "FORMERR", "NOTIMP", "REFUSED", "BADVERS", "silence", "recursion"}) {
    EXPECT_GT(seen[kind], 100) << kind;
  }
}

}  // namespace
}  // namespace rooster::dns
