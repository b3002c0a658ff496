#include "tunnel/link_pilot.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;
using Action = LinkAction;
using Kind = LinkReport::Kind;

struct Flight {
  explicit Flight(bool has_websocket = true) : pilot(has_websocket) {}

  // Ticks as its owner would until `until`; the Device repeats its initiation each 5 s.
  void pass(Duration time) {
    const TimePoint until = now + time;
    while (pilot.next_tick() <= until) {
      now = std::max(now, pilot.next_tick());
      pilot.tick(now);
      collect();
    }
    now = until;
  }
  void collect() {
    for (int rounds = 0; rounds < 4; ++rounds) {
      for (const Action action : pilot.take_actions()) {
        actions.push_back(action);
        // The owner's part that needs no outside.
        if (action == Action::Resolve || action == Action::Initiate || action == Action::Probe) {
          pilot.initiated(now);
        }
      }
      for (const LinkReport& report : pilot.take_reports()) reports.push_back(report);
    }
  }
  void start() {
    pilot.start(now);
    collect();
  }
  void established(Carrier carrier) {
    pilot.established(carrier, now);
    collect();
  }
  bool did(Action action) const {
    return std::find(actions.begin(), actions.end(), action) != actions.end();
  }
  std::vector<Kind> told() const {
    std::vector<Kind> kinds;
    for (const LinkReport& report : reports) kinds.push_back(report.kind);
    return kinds;
  }
  // Up over a WebSocket, with nothing remembered.
  void go_by_websocket() {
    start();
    pass(400ms);
    pilot.websocket_opened(now);
    collect();
    established(Carrier::Websocket);
    actions.clear();
    reports.clear();
  }

  LinkPilot pilot;
  TimePoint now{1h};
  std::vector<Action> actions;
  std::vector<LinkReport> reports;
};

TEST(LinkPilot, AnAnswerByUdpNeedsNothingElse) {
  Flight flight;
  flight.start();
  flight.pass(40ms);
  flight.established(Carrier::Udp);
  flight.pass(10min);
  EXPECT_EQ(flight.actions, std::vector<Action>{Action::Resolve});
  EXPECT_EQ(flight.told(), std::vector<Kind>{Kind::Connected});
  EXPECT_EQ(flight.reports[0].after, Duration(40ms));
}

TEST(LinkPilot, SilenceTriesOtherAddressesAndThenWebsocket) {
  Flight flight;
  flight.start();
  flight.pass(149ms);
  EXPECT_FALSE(flight.did(Action::SendElsewhere));
  flight.pass(2ms);
  EXPECT_TRUE(flight.did(Action::SendElsewhere));
  flight.pass(140ms);
  EXPECT_FALSE(flight.did(Action::OpenWebsocket));
  flight.pass(20ms);
  EXPECT_TRUE(flight.did(Action::OpenWebsocket));
  flight.pilot.websocket_opened(flight.now);
  flight.collect();
  EXPECT_TRUE(flight.did(Action::SendByWebsocket));
  flight.established(Carrier::Websocket);
  ASSERT_EQ(flight.told(), std::vector<Kind>{Kind::Connected});
  EXPECT_EQ(flight.reports[0].carrier, Carrier::Websocket);
  EXPECT_TRUE(flight.pilot.is_up());
}

TEST(LinkPilot, WithoutAnAnswerItIsSaidOnceAndTriedForever) {
  Flight flight(false);
  flight.start();
  flight.pass(3s);
  EXPECT_EQ(flight.told(), std::vector<Kind>{Kind::Unanswered});
  EXPECT_TRUE(flight.did(Action::Initiate));
  flight.actions.clear();
  flight.pilot.gave_up(flight.now);
  flight.collect();
  EXPECT_TRUE(flight.did(Action::Resolve));
  flight.pass(10min);
  EXPECT_EQ(flight.told().size(), 1u);
  flight.established(Carrier::Udp);
  EXPECT_EQ(flight.told().back(), Kind::Connected);
}

TEST(LinkPilot, UdpIsProbedAndTwoGoodAnswersBringItBack) {
  Flight flight;
  flight.go_by_websocket();
  flight.pass(59s);
  EXPECT_FALSE(flight.did(Action::Probe));
  flight.pass(2s);
  EXPECT_TRUE(flight.did(Action::UseWebsocket)) << "an unanswered probe ends where it began";
  EXPECT_TRUE(flight.told().empty());
  flight.actions.clear();
  flight.established(Carrier::Websocket);

  flight.pass(60s);
  ASSERT_TRUE(flight.did(Action::Probe));
  flight.established(Carrier::Udp);
  EXPECT_EQ(flight.pilot.carrier(), Carrier::Websocket) << "one answer may be luck";
  flight.actions.clear();
  flight.pass(100ms);
  EXPECT_FALSE(flight.did(Action::Probe)) << "the gateway would take it for a flood";
  flight.pass(200ms);
  ASSERT_TRUE(flight.did(Action::Probe));
  flight.established(Carrier::Udp);
  EXPECT_EQ(flight.pilot.carrier(), Carrier::Udp);
  EXPECT_EQ(flight.told(), std::vector<Kind>{Kind::ToUdp});
  EXPECT_TRUE(flight.did(Action::CloseWebsocket));
}

TEST(LinkPilot, ALostLinkIsSaidAndRacedAnew) {
  Flight flight;
  flight.start();
  flight.established(Carrier::Udp);
  flight.pass(1min);
  flight.actions.clear();
  flight.reports.clear();
  flight.pilot.initiated(flight.now);  // nothing came for 15 s
  flight.pass(1900ms);
  EXPECT_TRUE(flight.told().empty());
  EXPECT_FALSE(flight.did(Action::OpenWebsocket)) << "one lost packet is no reason";
  flight.pass(200ms);
  EXPECT_TRUE(flight.did(Action::OpenWebsocket));
  flight.pass(3s);
  flight.pilot.initiated(flight.now);  // the Device's 5 s
  flight.collect();
  EXPECT_EQ(flight.told(), std::vector<Kind>{Kind::Lost});
  EXPECT_TRUE(flight.did(Action::Resolve));
  flight.pass(4s);
  flight.established(Carrier::Udp);
  EXPECT_EQ(flight.told().back(), Kind::Reconnected);
  EXPECT_EQ(flight.reports.back().after, Duration(4s));
}

TEST(LinkPilot, AWebsocketThatEndsUnderTheLinkIsALoss) {
  Flight flight;
  flight.go_by_websocket();
  flight.pilot.websocket_ended("reset", flight.now);
  flight.collect();
  EXPECT_EQ(flight.told(), (std::vector<Kind>{Kind::WebsocketFailed, Kind::Lost}));
  flight.pass(500ms);
  EXPECT_TRUE(flight.did(Action::OpenWebsocket));
}

TEST(LinkPilot, SleepIsToldWhenTheLinkIsBack) {
  Flight flight;
  flight.start();
  flight.established(Carrier::Udp);
  flight.actions.clear();
  flight.reports.clear();
  flight.now += 8h;
  flight.pilot.slept(8h, flight.now);
  flight.collect();
  EXPECT_TRUE(flight.did(Action::Resolve));
  EXPECT_TRUE(flight.told().empty());
  flight.established(Carrier::Udp);
  ASSERT_EQ(flight.told(), std::vector<Kind>{Kind::Woke});
  EXPECT_EQ(flight.reports[0].after, Duration(8h));
}

TEST(LinkPilot, ANameWithoutAddressIsAskedForAgain) {
  Flight flight;
  flight.start();
  flight.actions.clear();
  flight.pilot.unresolved("no such name", flight.now);
  flight.pilot.unresolved("no such name", flight.now);
  flight.collect();
  EXPECT_EQ(flight.told(), std::vector<Kind>{Kind::Unresolved});
  flight.pass(2100ms);
  EXPECT_TRUE(flight.did(Action::Resolve));
}

}  // namespace
}  // namespace rooster::tunnel
