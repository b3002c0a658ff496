// The keeper's tests, and, when the keeper under test starts this program as its server, that
// server.
#include "tests/keeper/keeper_run.hpp"

#include <gtest/gtest.h>

#include <string_view>

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--as-server")
    return rooster::keeper::run_test_server(argv[2]);
  if (argc == 2 && std::string_view(argv[1]) == "--as-notifier")
    return rooster::keeper::run_test_notifier();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
