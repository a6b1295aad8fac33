# The CUDA backend and NCCL: shared libraries of their own, opened at run time (core/cuda_library.h, comm/nccl_library.h). LODESTONE_CUDA builds
# them with nvcc; the tests build them for the host's processor, where the toolkit's headers, cuBLASLt and NCCL are there.
# LODESTONE_MACHINE_CODE builds the backend with nvcc for a test only.
option(LODESTONE_CUDA "Build the CUDA backend (needs nvcc, cuBLAS)" OFF)
option(LODESTONE_MACHINE_CODE "Test the machine code of the CUDA backend, where nvcc is there" OFF)

set(CUDA_SOURCES)
foreach(name IN ITEMS attention_plans cuda_backend cuda_call cuda_memory facts host_wait plugin products staging upload_stream)
  list(APPEND CUDA_SOURCES ${CMAKE_SOURCE_DIR}/core/cuda/${name}.cpp)
endforeach()
set(CUDA_KERNELS)
foreach(name IN ITEMS activation attention embedding group_losses groups layer_norm linear optimizer planned_attention pooling rows scores softmax vectors)
  list(APPEND CUDA_KERNELS ${CMAKE_SOURCE_DIR}/core/cuda/${name}.cu)
endforeach()

set(NCCL_SOURCES)
foreach(name IN ITEMS nccl_call nccl_comm nccl_verbs plugin)
  list(APPEND NCCL_SOURCES ${CMAKE_SOURCE_DIR}/comm/nccl/${name}.cpp)
endforeach()

# A toolkit that is there, then what launch/setup.sh --cuda fetched.
set(CUDA_PINNED ${CMAKE_SOURCE_DIR}/.cache/cuda)
set(CUDA_ROOTS $ENV{CUDA_HOME} /usr/local/cuda ${CUDA_PINNED})
find_path(CUDA_RUNTIME_INCLUDE cuda_runtime_api.h HINTS ${CUDA_ROOTS} PATH_SUFFIXES include)
find_path(CUDA_CUBLASLT_INCLUDE cublasLt.h HINTS ${CUDA_ROOTS} PATH_SUFFIXES include)
find_library(CUDA_CUBLASLT_LIBRARY cublasLt HINTS ${CUDA_ROOTS} PATH_SUFFIXES lib64 lib)
find_program(CUDA_NVCC nvcc HINTS ${CUDA_ROOTS} PATH_SUFFIXES bin)
set(CUDA_TOOLKIT_INCLUDE ${CUDA_RUNTIME_INCLUDE} ${CUDA_CUBLASLT_INCLUDE})
list(REMOVE_DUPLICATES CUDA_TOOLKIT_INCLUDE)
find_path(NCCL_INCLUDE nccl.h HINTS $ENV{NCCL_HOME} ${CUDA_ROOTS} PATH_SUFFIXES include)
find_library(NCCL_LIBRARY nccl HINTS $ENV{NCCL_HOME} ${CUDA_ROOTS} PATH_SUFFIXES lib lib64)
set(NCCL_FOUND OFF)
if(NCCL_INCLUDE AND NCCL_LIBRARY)
  set(NCCL_FOUND ON)
endif()

if(CUDA_NVCC AND NOT DEFINED ENV{CUDACXX})
  set(ENV{CUDACXX} ${CUDA_NVCC})
endif()
set(CUDA_CODE_IS_TESTED OFF)
if(LODESTONE_MACHINE_CODE AND CUDA_NVCC AND CUDA_CUBLASLT_LIBRARY)
  execute_process(COMMAND ${CUDA_NVCC} --version OUTPUT_VARIABLE said ERROR_QUIET)
  if(said MATCHES "release 13\\.0,")  # others make other code
    include(CheckLanguage)
    check_language(CUDA)  # an nvcc that does not work is no reason to build nothing
    set(CUDA_CODE_IS_TESTED ${CMAKE_CUDA_COMPILER})
  endif()
endif()
if(LODESTONE_CUDA OR CUDA_CODE_IS_TESTED)
  enable_language(CUDA)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # CMake 3.25 does not know how nvcc 13 is told
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  find_library(CUDA_CUDART_LIBRARY cudart HINTS ${CUDA_ROOTS} PATH_SUFFIXES lib64 lib)
  add_library(lodestone_cuda SHARED ${CUDA_SOURCES} ${CUDA_KERNELS})
  set_target_properties(lodestone_cuda PROPERTIES CUDA_ARCHITECTURES "80-real;90a-real;90-virtual"
    POSITION_INDEPENDENT_CODE ON LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}$<$<NOT:$<BOOL:${LODESTONE_CUDA}>>:/machine_code>)
  # A kernel that spills registers, or keeps anything in local memory, is an error.
  target_compile_options(lodestone_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -Xptxas=-warn-spills,-warn-lmem-usage,-Werror
    $<$<BOOL:${LODESTONE_WERROR}>:-Werror=all-warnings>>)
  target_include_directories(lodestone_cuda PRIVATE ${CMAKE_SOURCE_DIR} ${CUDA_TOOLKIT_INCLUDE})
  target_link_libraries(lodestone_cuda PRIVATE ${CUDA_CUBLASLT_LIBRARY} ${CUDA_CUDART_LIBRARY})
endif()
if(LODESTONE_CUDA)
  install(TARGETS lodestone_cuda DESTINATION ${CMAKE_INSTALL_LIBDIR}/lodestone)
  if(NCCL_FOUND)
    add_library(lodestone_nccl SHARED ${NCCL_SOURCES})
    set_target_properties(lodestone_nccl PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} INSTALL_RPATH "\$ORIGIN")
    target_include_directories(lodestone_nccl SYSTEM PRIVATE ${CUDA_TOOLKIT_INCLUDE} ${NCCL_INCLUDE})
    target_link_libraries(lodestone_nccl PRIVATE lodestone_flags lodestone_cuda ${NCCL_LIBRARY} ${CUDA_CUDART_LIBRARY})
    install(TARGETS lodestone_nccl DESTINATION ${CMAKE_INSTALL_LIBDIR}/lodestone)
  else()
    message(STATUS "No NCCL: ranks will talk through the host's memory")
  endif()
endif()
