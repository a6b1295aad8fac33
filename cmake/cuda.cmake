# The CUDA backend: a shared library of its own, opened at run time (core/cuda_library.h). LODESTONE_CUDA builds it with nvcc; the tests build it
# for the host's processor, where the toolkit's headers and cuBLASLt are there. LODESTONE_MACHINE_CODE builds it with nvcc for a test only.
option(LODESTONE_CUDA "Build the CUDA backend (needs nvcc, cuBLAS)" OFF)
option(LODESTONE_MACHINE_CODE "Test the machine code of the CUDA backend, where nvcc is there" OFF)

set(CUDA_SOURCES)
foreach(name IN ITEMS cuda_backend cuda_call cuda_memory plugin products staging)
  list(APPEND CUDA_SOURCES ${CMAKE_SOURCE_DIR}/core/cuda/${name}.cpp)
endforeach()
set(CUDA_KERNELS)
foreach(name IN ITEMS activation attention embedding group_losses groups layer_norm linear optimizer pooling rows scores softmax vectors)
  list(APPEND CUDA_KERNELS ${CMAKE_SOURCE_DIR}/core/cuda/${name}.cu)
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
endif()
