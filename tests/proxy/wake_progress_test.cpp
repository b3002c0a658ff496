#include "proxy/wake_progress.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace rooster::proxy {
namespace {

using machines::WakePhase;

struct Waking {
  Waking() {
    auto config = std::make_shared<config::AppConfig>();
    config->name = "db";
    view.config = config;
    view.wakes = {{.group = "app"}};
    machines::MachineView machine;
    machine.id = {"m0"};
    machine.group = "app";
    machine.load = std::make_shared<machines::MachineLoad>(AppId{0});
    view.machines = {machine};
  }
  std::string in(WakePhase phase, bool is_for_one = false) {
    view.wakes.front().phase = phase;
    return wake_progress(view, view.wakes.front(), is_for_one);
  }
  machines::MachineView& machine() { return view.machines.front(); }
  machines::AppView view;
};

TEST(WakeProgress, FollowsTheMachine) {
  Waking w;
  EXPECT_EQ(w.in(WakePhase::Asleep), "waking db");
  w.machine().awake = true;
  EXPECT_EQ(w.in(WakePhase::Waking), "waking db: machine m0 starts");
  w.machine().timeline = machines::WakeTimeline{.started = TimePoint{Duration(1)}};
  EXPECT_EQ(w.in(WakePhase::Waking), "waking db: machine m0 runs, and does not listen yet");
  w.machine().timeline->listening = TimePoint{Duration(2)};
  EXPECT_EQ(w.in(WakePhase::Waking), "waking db: machine m0 listens, and is not ready yet");
  EXPECT_EQ(w.in(WakePhase::Ready, true), "waking db: machine m0 listens, and is not ready yet");
}

TEST(WakeProgress, SaysWhyItTakesLonger) {
  Waking w;
  EXPECT_EQ(w.in(WakePhase::Stopping), "db is stopping; it starts again after that");
  w.view.wakes.front().fault = Fault::PortTaken;
  EXPECT_EQ(w.in(WakePhase::Failed), "db failed to start (port_taken); it is tried again");
  w.machine().routable = true;
  w.machine().load->reopen(0);
  EXPECT_EQ(w.in(WakePhase::Ready), "db is ready and takes its first connections");
  w.machine().load->set_connection_cap(1);
  EXPECT_EQ(w.in(WakePhase::Ready), "db is at its limit of connections: waiting for a place");
}

}  // namespace
}  // namespace rooster::proxy
