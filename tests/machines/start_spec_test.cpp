#include "machines/start_spec.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace rooster::machines {
namespace {

config::AppConfig make_config(std::vector<std::string> command) {
  config::AppConfig made;
  made.name = "hello";
  made.primary_region = "gru";
  made.processes = {{.group = "web", .command = std::move(command)},
                    {.group = "worker", .command = {"work"}}};
  made.services.resize(2);
  made.services[0].internal_port = 8000;
  made.services[0].processes = {"web"};
  made.services[1].internal_port = 9000;
  made.services[1].processes = {"web"};
  made.env = {{"MODE", "x"}, {"FLY_REGION", "forged"}};
  made.rooster.directory = "/srv/hello";
  return made;
}

std::string variable(const StartSpec& spec, std::string_view name) {
  const std::string prefix = std::string(name) + "=";
  auto found = std::ranges::find_if(spec.env, [&](const auto& v) { return v.starts_with(prefix); });
  return found != spec.env.end() ? found->substr(prefix.size()) : "(none)";
}

const MachineIdentity kIdentity{.id = {"0123456789abcd"}, .region = "gru", .group = "web"};

TEST(StartSpec, PortIsPutIntoTheCommand) {
  struct Row {
    std::string word, becomes;
  };
  for (const Row& row :
       {Row{"{port}", "8123"}, Row{"$PORT", "8123"}, Row{"--bind=0:${PORT}", "--bind=0:8123"},
        Row{"$PORTAL", "$PORTAL"}, Row{"$PORT$PORT", "81238123"}, Row{"PORT", "PORT"}}) {
    const auto config = make_config({"serve", row.word});
    const StartSpec spec = make_start_spec(config, kIdentity, {{8000, 8123}, {9000, 9000}});
    EXPECT_EQ(spec.argv[1], row.becomes) << row.word;
    EXPECT_EQ(takes_port(config, "web"), row.word != row.becomes) << row.word;
  }
}

TEST(StartSpec, EnvironmentIsCleanAndOursCantBeForged) {
  const StartSpec spec = make_start_spec(make_config({"serve"}), kIdentity, {{8000, 8000}});
  EXPECT_EQ(variable(spec, "FLY_APP_NAME"), "hello");
  EXPECT_EQ(variable(spec, "FLY_MACHINE_ID"), "0123456789abcd");
  EXPECT_EQ(variable(spec, "FLY_REGION"), "gru");
  EXPECT_EQ(variable(spec, "FLY_PROCESS_GROUP"), "web");
  EXPECT_EQ(variable(spec, "PRIMARY_REGION"), "gru");
  EXPECT_EQ(variable(spec, "PORT"), "8000");
  EXPECT_EQ(variable(spec, "HOME"), "/srv/hello");
  EXPECT_EQ(variable(spec, "MODE"), "x");
  EXPECT_NE(variable(spec, "PATH"), "(none)");
  EXPECT_EQ(variable(spec, "SHELL"), "(none)");
}

TEST(StartSpec, OwnPortOfTheFileStandsUnlessTheMachineIsPlacedElsewhere) {
  auto config = make_config({"serve"});
  config.env = {{"PORT", "8000"}};
  EXPECT_EQ(variable(make_start_spec(config, kIdentity, {{8000, 8000}}), "PORT"), "8000");
  EXPECT_EQ(variable(make_start_spec(config, kIdentity, {{8000, 23456}}), "PORT"), "23456");
}

TEST(StartSpec, FingerprintChangesWithWhatARunningMachineCannotTakeOver) {
  const auto base = make_config({"serve"});
  const std::string print = start_fingerprint(base, "web");
  auto routes = base;
  routes.rooster.hostnames = {"example.com"};
  routes.services[0].concurrency.soft_limit = 99;
  EXPECT_EQ(start_fingerprint(routes, "web"), print);
  auto env = base;
  env.env.emplace_back("A", "b");
  auto command = make_config({"serve", "x"});
  auto directory = base;
  directory.rooster.directory = "/other";
  for (const auto& changed : {env, command, directory})
    EXPECT_NE(start_fingerprint(changed, "web"), print);
  EXPECT_EQ(start_fingerprint(command, "worker"), start_fingerprint(base, "worker"));
}

TEST(StartSpec, WhatTheKeeperStoresComesBack) {
  const StoredStart start{.fingerprint = "abc", .ports = {{8000, 23456}, {9000, 9000}}};
  const StoredStart again = parse_stored_start(store_start(start));
  EXPECT_EQ(again.fingerprint, "abc");
  EXPECT_EQ(again.ports, start.ports);
  EXPECT_EQ(parse_stored_start("abc;x;8000=;=1;7=8z").ports.size(), 1U);
  EXPECT_TRUE(parse_stored_start("").ports.empty());
}

TEST(StartSpec, ReadinessIsAtTheFirstTcpPort) {
  auto config = make_config({"serve"});
  EXPECT_EQ(readiness_port(config, "web"), 8000);
  config.services[0].protocol = config::Protocol::Udp;
  EXPECT_EQ(readiness_port(config, "web"), 9000);
  EXPECT_EQ(readiness_port(config, "worker"), 0);
}

TEST(StartSpec, SignalsByName) {
  EXPECT_EQ(signal_number("SIGINT"), 2);
  EXPECT_EQ(signal_number("SIGTERM"), 15);
  EXPECT_EQ(signal_number("SIGNOPE"), 0);
}

}  // namespace
}  // namespace rooster::machines
