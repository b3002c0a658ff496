#include "proxy/worker_context.hpp"

#include "proxy/upstream_head.hpp"

#include <chrono>
#include <ctime>

namespace rooster::proxy {

namespace {
constexpr std::size_t kKeptHeads = 256;
constexpr std::size_t kKeptPlaces = 16;
}  // namespace

std::unique_ptr<RequestInHand> HeadPool::take() {
  if (heads_.empty()) return std::make_unique<RequestInHand>();
  auto head = std::move(heads_.back());
  heads_.pop_back();
  return head;
}

void HeadPool::give(std::unique_ptr<RequestInHand> head) {
  if (head && heads_.size() < kKeptHeads) heads_.push_back(std::move(head));
}

std::uint64_t WorkerContext::random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

WallTime WorkerContext::wall_now() {
  if (wall_at != loop.now()) {
    wall_at = loop.now();
    wall = std::chrono::system_clock::now();
  }
  return wall;
}

std::string_view WorkerContext::place(std::uint16_t port) {
  if (places_region != settings->region || places.size() >= kKeptPlaces) {
    places.clear();
    places_region = settings->region;
  }
  for (const auto& [made_for, text] : places) {
    if (made_for == port) return text;
  }
  return places.emplace_back(port, place_fields(port, places_region)).second;
}

std::string_view WorkerContext::http_date() {
  const std::int64_t second = std::chrono::system_clock::to_time_t(wall_now());
  if (second != date_second) {
    date_second = second;
    std::tm parts{};
    const std::time_t time = second;
    gmtime_r(&time, &parts);
    char text[40];
    date.assign(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
  }
  return date;
}

}  // namespace rooster::proxy
