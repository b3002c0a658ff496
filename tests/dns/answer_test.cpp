#include "dns/answer.hpp"

#include "tests/dns/village.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>

namespace rooster::dns {
namespace {

using testing::ask;
using testing::ask_bytes;
using testing::Asking;
using testing::ip;
using testing::kElsewhere;
using testing::kVillage;
using testing::make_village;

/// One line of an expectation: "NOERROR: a | b", records sorted.
std::string summary(const Response& response) {
  auto lines = short_lines(response);
  std::ranges::sort(lines);
  std::string text = rcode_to_text(response.rcode) + ":";
  for (const auto& line : lines) text += " " + line;
  const bool has_soa = !response.section(Section::Authority).empty();
  if (has_soa) text += " soa";
  return text;
}

struct Row {
  const char* name;
  const char* type;
  std::string expected;
};

// m1..m4, d1, d2: the machines of make_village().
const std::string kM1 = "fdaa:2:78b0:a7b:1:0:1:2";
const std::string kM2 = "fdaa:2:78b0:a7b:1:0:2:2";
const std::string kD1 = "fdaa:2:78b0:a7b:1:0:d1:2";
const std::string kD2 = "fdaa:2:78b0:a7b:1:0:d2:2";

std::vector<Row> rows() {
  const std::string ok = "NOERROR: ";
  const std::string no_data = "NOERROR: soa";
  const std::string no_name = "NXDOMAIN: soa";
  return {
      {"web.internal", "AAAA", ok + kM1 + " " + kM2},
      {"WeB.InTernal", "AAAA", ok + kM1 + " " + kM2},
      {"web.internal", "ANY", ok + kM1 + " " + kM2},
      {"web.internal", "A", no_data},
      {"web.internal", "TXT", no_data},
      {"web.internal", "TYPE65", no_data},
      {"global.web.internal", "AAAA", ok + kM1 + " " + kM2},
      {"iad.web.internal", "AAAA", ok + kM1},
      {"ord.web.internal", "AAAA", no_data},
      {"lhr.web.internal", "AAAA", no_name},
      {"m1.vm.web.internal", "AAAA", ok + kM1},
      {"m3.vm.web.internal", "AAAA", no_data},
      {"m4.vm.web.internal", "AAAA", no_name},
      {"m9.vm.web.internal", "AAAA", no_name},
      {"vm.web.internal", "AAAA", no_data},
      {"app.process.web.internal", "AAAA", ok + kM1 + " " + kM2},
      {"worker.process.web.internal", "AAAA", no_data},
      {"release.process.web.internal", "AAAA", no_name},
      {"process.web.internal", "AAAA", no_data},
      {"top5.nearest.of.web.internal", "AAAA", ok + kM1 + " " + kM2},
      {"top0.nearest.of.web.internal", "AAAA", no_name},
      {"top.nearest.of.web.internal", "AAAA", no_name},
      {"top1x.nearest.of.web.internal", "AAAA", no_name},
      {"top99999999999999999999.nearest.of.web.internal", "AAAA", no_name},
      {"nearest.of.web.internal", "AAAA", no_data},
      {"of.web.internal", "AAAA", no_data},
      {"primary.role.kv._metadata.web.internal", "AAAA", ok + kM1},
      {"replica.role.kv._metadata.web.internal", "AAAA", ok + kM2},
      {"none.role.kv._metadata.web.internal", "AAAA", no_name},
      {"role.kv._metadata.web.internal", "AAAA", no_data},
      {"color.kv._metadata.web.internal", "AAAA", no_name},
      {"kv._metadata.web.internal", "AAAA", no_data},
      {"_metadata.web.internal", "AAAA", no_data},
      {"a.primary.role.kv._metadata.web.internal", "AAAA", no_name},
      {"vms.web.internal", "TXT", ok + "\"m1 iad,m2 gru\""},
      {"all.vms.web.internal", "TXT", ok + "\"m1 iad,m2 gru,m3 ord\""},
      {"regions.web.internal", "TXT", ok + "\"gru,iad\""},
      {"all.regions.web.internal", "TXT", ok + "\"gru,iad,ord\""},
      {"all.web.internal", "TXT", no_data},
      {"vms.web.internal", "AAAA", no_data},
      {"db.internal", "AAAA", ok + kD1 + " " + kD2},
      {"gru.db.internal", "AAAA", ok + kD1},
      {"d2.vm.db.internal", "AAAA", ok + kD2},
      {"app.process.db.internal", "AAAA", ok + kD1 + " " + kD2},
      {"vms.db.internal", "TXT", no_data},
      {"all.vms.db.internal", "TXT", ok + "\"d1 gru,d2 iad\""},
      {"regions.db.internal", "TXT", no_data},
      {"off.internal", "AAAA", no_data},
      {"empty.internal", "AAAA", no_data},
      {"global.empty.internal", "AAAA", no_data},
      {"nobody.internal", "AAAA", no_name},
      {"secret.internal", "AAAA", no_name},
      {"a.b.c.d.e.f.web.internal", "AAAA", no_name},
      {"_apps.internal", "TXT", ok + "\"db,empty,off,web\""},
      {"_apps.internal", "AAAA", no_data},
      {"x._apps.internal", "TXT", no_name},
      {"_peer.internal", "TXT", ok + "\"laptop\""},
      {"laptop._peer.internal", "AAAA", ok + "fdaa:2:78b0:a7b:1:0:a:102"},
      {"LapTop._peer.internal", "AAAA", ok + "fdaa:2:78b0:a7b:1:0:a:102"},
      {"laptop._peer.internal", "TXT", no_data},
      {"interactive-1._peer.internal", "AAAA", no_name},
      {"nobody._peer.internal", "AAAA", no_name},
      {"_instances.internal", "TXT",
       ok + "\"instance=m1,app=web,ip=" + kM1 + ",region=iad;instance=m2,app=web,ip=" + kM2 +
           ",region=gru\""},
      {"x._instances.internal", "TXT", no_name},
      {"_api.internal", "AAAA", ok + "fdaa:2:78b0::3"},
      {"_api.internal", "TXT", no_data},
      {"x._api.internal", "AAAA", no_name},
      {"web.flycast", "AAAA", ok + "fdaa:2:78b0:0:1::a"},
      {"web.flycast", "A", no_data},
      {"db.flycast", "AAAA", ok + "fdaa:2:78b0:0:1::b"},
      {"off.flycast", "AAAA", no_name},
      {"secret.flycast", "AAAA", no_name},
      {"x.web.flycast", "AAAA", no_name},
      {"internal", "NS", ok + "_api.internal."},
      {"internal", "AAAA", no_data},
      {"flycast", "AAAA", no_data},
      {"a.a.d.f.ip6.arpa", "PTR", no_data},
      {"2.0.a.a.d.f.ip6.arpa", "PTR", no_data},
      {"x.a.a.d.f.ip6.arpa", "PTR", no_name},
      {"xx.a.a.d.f.ip6.arpa", "PTR", no_name},
  };
}

TEST(Answer, EveryRecordOfTheTable) {
  const Directory village = make_village();
  for (const Row& row : rows()) {
    const auto type = type_from_text(row.type);
    ASSERT_TRUE(type) << row.type;
    const Response response = ask(village, {.name = row.name, .type = *type});
    EXPECT_EQ(summary(response), row.expected) << row.name << " " << row.type;
    EXPECT_TRUE(response.flags & flag::kAuthoritative) << row.name;
    for (const auto& section : response.sections) {
      for (const Record& record : section) EXPECT_EQ(record.ttl, 5u) << row.name;
    }
  }
}

TEST(Answer, AllInstancesOverAStreamHasTheStoppedOnesToo) {
  const Response response =
      ask(make_village(), {.name = "all._instances.internal", .type = type::kTxt},
          {.carrier = Carrier::Stream});
  ASSERT_EQ(texts_in(response).size(), 1u);
  EXPECT_EQ(std::ranges::count(texts_in(response).front(), ';'), 5);
  EXPECT_THAT(texts_in(response).front(),
              ::testing::HasSubstr("instance=d2,app=db,ip=" + kD2 + ",region=iad;"));
}

TEST(Answer, AddressesHaveTheirNames) {
  const Directory village = make_village();
  const auto pointer = [&](std::string_view address) {
    return summary(ask(village, {.name = reverse_name(ip(address)), .type = type::kPtr}));
  };
  EXPECT_EQ(pointer(kM1), "NOERROR: m1.vm.web.internal.");
  EXPECT_EQ(pointer("fdaa:2:78b0:0:1::a"), "NOERROR: web.flycast.");
  EXPECT_EQ(pointer("fdaa:2:78b0:a7b:1:0:a:102"), "NOERROR: laptop._peer.internal.");
  EXPECT_EQ(pointer("fdaa:2:78b0::3"), "NOERROR: _api.internal.");
  EXPECT_EQ(pointer("fdaa::3"), "NOERROR: _api.internal.");
  EXPECT_EQ(pointer("fdaa:2:78b0:a7b:1:0:a:202"), "NXDOMAIN: soa");  // interactive
  EXPECT_EQ(pointer("fdaa:2:78b0:a7b:1:0:4:2"), "NXDOMAIN: soa");    // not registered
  EXPECT_EQ(pointer("fdaa:0:991:a7b:1:0:1:2"), "NXDOMAIN: soa");     // another network's
  EXPECT_EQ(pointer("fdaa:0:991::3"), "NXDOMAIN: soa");
}

TEST(Answer, WithoutInternalWakeSleepersAreInNoAnswer) {
  Directory village = make_village();
  AppRecord db = *village.zone(kVillage).app("db");
  db.internal_wake = false;
  village.put_app(kVillage, db);
  EXPECT_EQ(summary(ask(village, {.name = "db.internal"})), "NOERROR: soa");
  EXPECT_EQ(summary(ask(village, {.name = "gru.db.internal"})), "NOERROR: soa");
  EXPECT_EQ(summary(ask(village, {.name = "d1.vm.db.internal"})), "NOERROR: soa");
}

TEST(Answer, OneStartedMachineHidesTheWakeableOnes) {
  Directory village = make_village();
  AppRecord db = *village.zone(kVillage).app("db");
  db.machines[1].state = MachineState::Started;
  village.put_app(kVillage, db);
  EXPECT_EQ(summary(ask(village, {.name = "db.internal"})), "NOERROR: " + kD2);
}

TEST(Answer, NearestAreTheClosestRegionsFirst) {
  Asking asking;
  asking.options.round_trip = [](std::string_view region) {
    return std::chrono::milliseconds(region == "gru" ? 1 : 100);
  };
  const Directory village = make_village();
  const auto top = [&](const char* name) {
    return short_lines(ask(village, {.name = name}, asking));
  };
  EXPECT_EQ(top("top1.nearest.of.web.internal"), std::vector{kM2});
  EXPECT_EQ(top("top2.nearest.of.web.internal"), (std::vector{kM2, kM1}));
  EXPECT_EQ(top("Top9.Nearest.oF.web.internal"), (std::vector{kM2, kM1}));
}

TEST(Answer, TheZoneIsThatOfTheSourcesNetwork) {
  const Directory village = make_village();
  const Asking there{.network = kElsewhere};
  EXPECT_EQ(summary(ask(village, {.name = "secret.internal"}, there)),
            "NOERROR: fdaa:0:991:a7b:1:0:1:2");
  EXPECT_EQ(summary(ask(village, {.name = "web.internal"}, there)), "NXDOMAIN: soa");
  EXPECT_EQ(summary(ask(village, {.name = "_api.internal"}, there)), "NOERROR: fdaa:0:991::3");
  const Asking nowhere{.network = NetworkId{5}};
  EXPECT_EQ(summary(ask(village, {.name = "web.internal"}, nowhere)), "NXDOMAIN: soa");
  EXPECT_EQ(summary(ask(village, {.name = "_apps.internal", .type = type::kTxt}, nowhere)),
            "NOERROR: soa");
}

TEST(Answer, KeepsTheCaseOfTheQuestion) {
  const auto query = *make_query({.name = "wEb.iNTernal"}, 7);
  const std::string reply = ask_bytes(make_village(), query);
  const auto response = read_response(reply);
  ASSERT_TRUE(response);
  EXPECT_EQ(name_to_text(response->name), "wEb.iNTernal.");
  for (const Record& record : response->section(Section::Answer)) {
    EXPECT_EQ(name_to_text(record.owner), "wEb.iNTernal.");
  }
}

TEST(Answer, TheSerialGrowsWithTheDirectory) {
  Directory village = make_village();
  const auto serial = [&] {
    const auto lines = short_lines(ask(village, {.name = "internal", .type = type::kSoa}));
    return lines.empty() ? "" : lines.front();
  };
  const std::string before = serial();
  EXPECT_THAT(before, ::testing::StartsWith("_api.internal. hostmaster.internal. "));
  EXPECT_THAT(before, ::testing::EndsWith(" 5"));
  village.put_peer(kVillage, {.name = "phone", .address = ip("fdaa:2:78b0:a7b:1:0:a:302")});
  EXPECT_NE(serial(), before);
}

TEST(Answer, OtherNamesAreLeftToTheRecursor) {
  const Directory village = make_village();
  for (const char* name : {"example.com", "internal.example.com", "notinternal", "a.d.f.ip6.arpa",
                           "b.a.d.f.ip6.arpa", "4.3.2.1.in-addr.arpa", "."}) {
    EXPECT_EQ(ask_bytes(village, *make_query({.name = name}, 1)), "") << name;
    EXPECT_FALSE(is_private_name(*name_from_text(name))) << name;
  }
  EXPECT_EQ(summary(ask(village, {.name = "example.com", .recursion_desired = false})), "REFUSED:");
}

TEST(Answer, TransfersAndMetaTypesAreRefused) {
  const Directory village = make_village();
  for (const char* name : {"internal", "example.com"}) {
    EXPECT_EQ(summary(ask(village, {.name = name, .type = type::kAxfr})), "REFUSED:");
    EXPECT_EQ(summary(ask(village, {.name = name, .type = type::kIxfr})), "REFUSED:");
    EXPECT_EQ(summary(ask(village, {.name = name, .type = type::kTkey})), "NOTIMP:");
  }
  std::string chaos = *make_query({.name = "version.bind", .type = type::kTxt, .udp_bytes = 0}, 1);
  chaos.back() = 3;
  EXPECT_EQ(summary(*read_response(ask_bytes(village, chaos))), "REFUSED:");
}

/// 300 machines, of which each AAAA record takes 28 bytes.
Directory make_city(int machines) {
  Directory city;
  AppRecord app{.name = "big"};
  for (int i = 0; i < machines; ++i) {
    app.machines.push_back(testing::machine(fmt::format("{:014x}", i), "gru", MachineState::Started,
                                            fmt::format("fdaa:2:78b0:a7b::{:x}:2", i + 1)));
  }
  city.put_app(kVillage, app);
  return city;
}

TEST(Answer, WhatADatagramCannotHoldComesOverAStream) {
  const Directory city = make_city(300);
  for (const int size : {0, 100, 512, 1232, 65535}) {
    const auto bytes = static_cast<std::uint16_t>(size);
    const Question question{.name = "big.internal", .udp_bytes = bytes};
    const std::string reply = ask_bytes(city, *make_query(question, 3));
    const auto response = read_response(reply);
    ASSERT_TRUE(response);
    EXPECT_TRUE(response->flags & flag::kTruncated);
    EXPECT_TRUE(response->section(Section::Answer).empty());
    EXPECT_EQ(response->edns.has_value(), bytes != 0);
    EXPECT_EQ(short_lines(ask(city, question, {.carrier = Carrier::Stream})).size(), 300u);
  }
}

TEST(Answer, FillsADatagramUpToItsLimit) {
  // 12 + 18 (question) + n * 28 + 11 (OPT) <= 1232; <= 512 without EDNS.
  const auto count = [](int machines, std::uint16_t bytes) {
    const Question question{.name = "big.internal", .udp_bytes = bytes};
    return short_lines(ask(make_city(machines), question)).size();
  };
  EXPECT_EQ(count(42, 4096), 42u);
  EXPECT_EQ(count(43, 4096), 0u);
  EXPECT_EQ(count(17, 0), 17u);
  EXPECT_EQ(count(18, 0), 0u);
}

TEST(Answer, LongTextsAreCutInStringsThatJoinAgain) {
  const Directory city = make_city(50);
  const Response response =
      ask(city, {.name = "vms.big.internal", .type = type::kTxt}, {.carrier = Carrier::Stream});
  std::string expected;
  for (int i = 0; i < 50; ++i) expected += fmt::format("{}{:014x} gru", i == 0 ? "" : ",", i);
  EXPECT_EQ(texts_in(response), std::vector{expected});
  ASSERT_EQ(response.section(Section::Answer).size(), 1u);
  EXPECT_EQ(response.section(Section::Answer)[0].data[0], '\xff');
}

TEST(Answer, AStreamHoldsAsManyItemsAsFit) {
  Directory city;
  for (int i = 0; i < 9000; ++i) city.put_app(kVillage, {.name = fmt::format("app-{:05}", i)});
  const Response response =
      ask(city, {.name = "_apps.internal", .type = type::kTxt}, {.carrier = Carrier::Stream});
  ASSERT_EQ(texts_in(response).size(), 1u);
  const std::string text = texts_in(response).front();
  EXPECT_GT(text.size(), 65000u);
  EXPECT_TRUE(text.starts_with("app-00000,app-00001,"));
  EXPECT_EQ(text.size() % 10, 9u);  // whole names: nine characters and a comma each
  const Response large =
      ask(make_city(4000), {.name = "big.internal"}, {.carrier = Carrier::Stream});
  EXPECT_GT(short_lines(large).size(), 2300u);
  EXPECT_FALSE(large.flags & flag::kTruncated);
}

}  // namespace
}  // namespace rooster::dns
