// A Coordinator with a hand-moved clock and a fake driver, for its tests.
#pragma once

#include "machines/coordinator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace rooster::machines {

using namespace std::chrono_literals;

inline constexpr AppId kApp{1};

inline config::AppConfig make_config(std::string name = "hello") {
  config::AppConfig made;
  made.name = std::move(name);
  made.primary_region = "gru";
  made.processes = {{.group = "app", .command = {"/bin/app"}}};
  config::Service service;
  service.autostop = config::Autostop::Stop;
  made.services = {service};
  made.rooster.idle_timeout = 300s;
  made.rooster.driver = config::DriverKind::Process;
  return made;
}

class CoordinatorTest : public testing::Test {
 protected:
  CoordinatorTest() { make({}); }

  void make(CoordinatorOptions options) {
    options.region = "gru";
    options.boot_ms = [this] { return boot_milliseconds() + offset_ms_; };
    coordinator_ = std::make_unique<Coordinator>(std::move(options));
  }
  void configure(const config::AppConfig& config, AppId app = kApp) {
    coordinator_->configure(app, std::make_shared<config::AppConfig>(config), now_, out_);
    adopt();
  }
  void adopt() {
    const std::uint64_t epoch = coordinator_->epoch();
    coordinator_->epoch_adopted(epoch, now_, out_);
  }
  /// Moves the clock, idleness included.
  void pass(Duration time) {
    now_ += time;
    offset_ms_ += std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
    coordinator_->tick(now_, out_);
    adopt();
  }
  const AppView& view(AppId app = kApp) const { return *coordinator_->view(app); }
  const WakeState& wake_state() const { return view().wakes.at(0); }
  const MachineView& machine(std::size_t index = 0) const { return view().machines.at(index); }
  MachineId id(std::size_t index = 0) const { return machine(index).id; }
  MachineState state(std::size_t index = 0) const { return coordinator_->find(id(index))->state; }
  void wake(AppId app = kApp) {
    coordinator_->wake({.app = app,
                        .group = "app",
                        .generation = wake_state().generation,
                        .asked_at = now_,
                        .source = "192.0.2.1",
                        .reason = "GET /"},
                       now_, out_);
  }
  template <class Command>
  std::vector<Command> take() {
    std::vector<Command> found;
    for (const auto& command : out_.commands) {
      if (const auto* one = std::get_if<Command>(&command)) found.push_back(*one);
    }
    std::erase_if(out_.commands, [](const auto& c) { return std::holds_alternative<Command>(c); });
    return found;
  }
  void become_ready(const MachineId& machine) {
    coordinator_->started(machine, 100, now_, out_);
    coordinator_->listening(machine, now_, out_);
    adopt();
  }
  void wake_until_ready() {
    wake();
    auto starts = take<StartMachine>();
    ASSERT_EQ(starts.size(), 1U);
    become_ready(starts[0].spec.machine);
    ASSERT_EQ(wake_state().phase, WakePhase::Ready);
  }
  Lease lease(std::size_t index = 0) {
    const MachineView& view = machine(index);
    return Lease::try_take(*view.load, view.load_generation, UINT32_MAX, nullptr);
  }
  bool has_line(std::string_view text) const {
    return std::ranges::any_of(out_.lines, [&](const MachineLine& line) {
      return line.message.find(text) != std::string::npos;
    });
  }

  TimePoint now_{10'000s};
  std::int64_t offset_ms_ = 0;
  Output out_;
  std::unique_ptr<Coordinator> coordinator_;
};

}  // namespace rooster::machines
