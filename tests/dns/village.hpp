// A small network that the answer tests ask about, and how they ask.
#pragma once

#include "core/private_address.hpp"
#include "dns/answer.hpp"
#include "dns/lookup.hpp"
#include "dns/name.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::dns::testing {

inline constexpr NetworkId kVillage{0x00278b0};
inline constexpr NetworkId kElsewhere{0x00991};

inline IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

inline MachineRecord machine(std::string id, std::string region, MachineState state,
                             std::string_view address, std::string group = "app") {
  return {.id = std::move(id),
          .region = std::move(region),
          .group = std::move(group),
          .state = state,
          .address = ip(address)};
}

/// web: two started (iad, gru), one stopped (ord), one in release; db: asleep and wakeable;
/// off: stopped for good; flycast for web and db; peers laptop and interactive-1.
inline Directory make_village() {
  using enum MachineState;
  Directory directory;
  AppRecord web{.name = "web", .flycast = ip("fdaa:2:78b0:0:1::a")};
  web.machines = {machine("m1", "iad", Started, "fdaa:2:78b0:a7b:1:0:1:2"),
                  machine("m2", "gru", Started, "fdaa:2:78b0:a7b:1:0:2:2"),
                  machine("m3", "ord", Stopped, "fdaa:2:78b0:a7b:1:0:3:2", "worker"),
                  machine("m4", "iad", Started, "fdaa:2:78b0:a7b:1:0:4:2", "release")};
  web.machines[0].metadata = {{"role", "Primary"}, {"tier", "1"}};
  web.machines[1].metadata = {{"role", "replica"}};
  web.machines[3].skip_registration = true;
  AppRecord db{.name = "db", .flycast = ip("fdaa:2:78b0:0:1::b")};
  db.machines = {machine("d1", "gru", Stopped, "fdaa:2:78b0:a7b:1:0:d1:2"),
                 machine("d2", "iad", Suspended, "fdaa:2:78b0:a7b:1:0:d2:2")};
  db.machines[0].wakeable = db.machines[1].wakeable = true;
  AppRecord off{.name = "off"};
  off.machines = {machine("o1", "gru", Stopped, "fdaa:2:78b0:a7b:1:0:1f:2")};
  directory.put_app(kVillage, web);
  directory.put_app(kVillage, db);
  directory.put_app(kVillage, off);
  directory.put_app(kVillage, {.name = "empty"});
  directory.put_peer(kVillage, {.name = "laptop", .address = ip("fdaa:2:78b0:a7b:1:0:a:102")});
  directory.put_peer(kVillage,
                     {.name = "interactive-1", .address = ip("fdaa:2:78b0:a7b:1:0:a:202")});
  AppRecord secret{.name = "secret", .flycast = ip("fdaa:0:991:0:1::1")};
  secret.machines = {machine("s1", "gru", Started, "fdaa:0:991:a7b:1:0:1:2")};
  directory.put_app(kElsewhere, secret);
  return directory;
}

struct Asking {
  NetworkId network = kVillage;
  Carrier carrier = Carrier::Datagram;
  AnswerOptions options{};
};

/// The reply's bytes; empty where it is left to the recursor, or where silence is right.
inline std::string ask_bytes(const Directory& directory, std::string_view query,
                             const Asking& asking = {}) {
  std::string out(kMaxMessageBytes, '\0');
  const auto read = read_query(query);
  if (!read) return {};
  Reply reply(out, *read, asking.carrier);
  const Verdict verdict = answer(directory, asking.network, *read, asking.options, reply);
  if (verdict == Verdict::Recurse) return {};
  out.resize(reply.finish());
  return out;
}

inline Response ask(const Directory& directory, const Question& question,
                    const Asking& asking = {}) {
  const auto query = make_query(question, 0x1234);
  EXPECT_TRUE(query) << question.name;
  const auto response = read_response(ask_bytes(directory, *query, asking));
  EXPECT_TRUE(response) << question.name;
  if (!response) return {};
  EXPECT_TRUE(answers(*response, *query)) << question.name;
  return *response;
}

}  // namespace rooster::dns::testing
